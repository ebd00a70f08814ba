"""Figures that tests note down, to be printed when the run ends."""

from __future__ import annotations

FIGURES: list[str] = []


def note(figure: str) -> None:
    """Keep a line for the end of the run."""
    FIGURES.append(figure)
