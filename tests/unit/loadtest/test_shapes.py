"""Shapes: one at the base, up in the disturbance, and each its own way back."""

from __future__ import annotations

import math

import pytest

from controller.evaluate.arms.data import Spans
from loadtest.shapes import SHAPES, shape

SPANS = Spans(10.0, 12.0, 10.0)


def test_there_are_six() -> None:
    """Those that the kit promises, and an unknown one is named."""
    assert set(SHAPES) == {"spike", "step", "ramp", "flash", "diurnal", "soak"}
    with pytest.raises(ValueError, match="no shape 'wave'"):
        shape("wave", SPANS, 4.0)


@pytest.mark.parametrize(
    ("name", "before", "at", "peak", "after"),
    [
        ("spike", 1.0, 4.0, 4.0, 1.0),
        ("step", 1.0, 4.0, 4.0, 4.0),
        ("ramp", 1.0, 1.0, 4.0, 1.0),
        ("soak", 1.0, 1.0, 1.0, 1.0),
    ],
)
def test_rates_over_time(name: str, before: float, at: float, peak: float, after: float) -> None:
    """Before the disturbance, at its begin, at its end, and at the end of all."""
    rate = shape(name, SPANS, 4.0)
    assert (rate(9.9), rate(10.0), rate(21.9), rate(31.0)) == (before, at, peak, after)


def test_a_crowd_comes_at_once_and_leaves_slowly() -> None:
    """A third of the disturbance at the peak, then an exponential tail over two thirds."""
    rate = shape("flash", SPANS, 4.0)
    assert (rate(9.9), rate(10.0), rate(13.9)) == (1.0, 4.0, 4.0)
    assert math.isclose(rate(22.0), 1.0 + 3.0 * math.exp(-1.0))


def test_a_day_has_one_peak() -> None:
    """In the middle of the run, 2.9 times the base."""
    rate = shape("diurnal", SPANS, 99.0)
    assert math.isclose(rate(16.0), 2.9)
    assert rate(0.0) == rate(32.0) == 0.3
