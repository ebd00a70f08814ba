"""Go's durations."""

import pytest

from controller.llmd.sim.durations import go_duration_s


@pytest.mark.parametrize(
    ("text", "expected"), [("1500ms", 1.5), ("1m30s", 90), ("2h", 7200), ("3us", 3e-6), ("5µs", 5e-6)]
)
def test_durations_are_read(text, expected):
    """Units add up."""
    assert go_duration_s(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "-5s", "0s", "5 s", "s", "1e3s", "5d", "1s" * 7])
def test_what_is_none_is_none(text):
    """Not a duration above zero."""
    assert go_duration_s(text) is None
