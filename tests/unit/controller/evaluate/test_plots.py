"""`controller.evaluate.plots`: pictures with their names; the same entries, the same bytes."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from controller.evaluate import matrix
from controller.evaluate.bound import Bound
from controller.evaluate.figures import figures_of
from controller.evaluate.plots import draw
from controller.evaluate.scenarios import SCENARIOS

TINY = replace(SCENARIOS["base"], end_s=110.0)


def entries() -> tuple[matrix.Entry, ...]:
    """Run pass-through and the controller for a short while."""
    return tuple(matrix.run_one(TINY, policy, 1, series=True)[1] for policy in ("none", "controlled"))


def test_each_picture_is_a_png_of_its_own() -> None:
    """Policies, four over time, and what the controller moved; twice the same bytes."""
    pytest.importorskip("matplotlib")
    ran = entries()
    runs = [figures_of(entry) for entry in ran]
    pictures = draw("tiny", ran, runs, (Bound(0.9, 0.8, 1),))
    names = ("policies", "attainment", "premium", "quality", "usd_per_hour", "control")
    assert [picture.name for picture in pictures] == [f"tiny-{name}" for name in names]
    assert all(picture.png.startswith(b"\x89PNG\r\n") for picture in pictures)
    assert draw("tiny", ran, runs)[1].png == pictures[1].png


def test_without_series_there_is_the_comparison_alone() -> None:
    """What was not kept is not drawn."""
    pytest.importorskip("matplotlib")
    bare = [replace(entry, series=None) for entry in entries()]
    assert len(draw("tiny", bare, [figures_of(entry) for entry in bare])) == 1


def test_without_matplotlib_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """ModuleNotFoundError, which the command turns into a line."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError):
        draw("tiny", (), ())
