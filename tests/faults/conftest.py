"""Prints the figures of the fault tests at the end of a run: what was tried, lost and caught."""

from __future__ import annotations

import pytest

from tests.kit.figures import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests noted."""
    if FIGURES:
        terminalreporter.section("durability figures")
        for figure in FIGURES:
            terminalreporter.line(figure)
