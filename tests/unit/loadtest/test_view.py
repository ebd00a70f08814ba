"""What a person sees: sparklines, a picture of the run, plain lines without a terminal."""

from __future__ import annotations

import math

import pytest

from controller.evaluate.arms.data import Moment, Spans
from loadtest.generate import Progress
from loadtest.rows import Row
from loadtest.view import Picture, Screen, print_table, sparkline
from tests.kit.arms import BATCH, PREMIUM

MOMENT = Moment(2.0, "active", 3, 9, {"large": 1.25}, {"large": 32})


def progress() -> Progress:
    """Two answered in time, one shed, one still open."""
    rows = [
        Row("ask", "r1", "premium", 0.5, 0.0, "complete", 200, 0.5, 2.0),
        Row("ask", "r2", "batch", 1.5, 0.0, "complete", 200, 2.0, 9.0),
        Row("ask", "r3", "premium", 1.6, 0.0, "shed", 429),
        Row("act", "t1", "", 1.7, 0.0, "complete", 200, None, 0.01),
    ]
    return Progress(sent=5, done=4, open=1, rows=rows)


def test_sparklines() -> None:
    """Lowest to highest; infinite is full, unknown a gap, only the last ones are shown."""
    assert sparkline([0, 4, 8]) == "▁▅█"
    assert sparkline([math.nan, math.inf, 1.0], top=2.0) == " █▅"
    assert sparkline([1.0] * 100, width=10) == "█" * 10
    assert sparkline([]) == ""
    assert sparkline([0.0, 0.0]) == "▁▁"


def test_a_picture_of_the_run() -> None:
    """Where it is, what was answered, what was in time, and what the controller does."""
    one = Picture("controlled", Spans(1.0, 1.0, 1.0), (PREMIUM, BATCH), progress())
    lines = one.lines(1.8, MOMENT)
    assert "SPIKE" in lines[0]
    assert "4 of 5 answered, 1 open" in lines[0]
    assert "66.7% of the answered" in lines[2]
    assert "never" in lines[3]
    assert lines[4].endswith("controller active, in flight 9, queued 3, prices large 1.25")
    assert "drain" in one.lines(9.0, None)[0]
    assert one.line(1.8, None) == (
        "controlled: 2 of 3 s, 4 answered, 1 open, 66.7% in time; controller: not seen yet"
    )


def test_nothing_answered_yet() -> None:
    """Is shown as not known."""
    one = Picture("none", Spans(1.0, 1.0, 1.0), (PREMIUM,), Progress())
    assert "--" in one.lines(0.0, None)[2]
    assert "before" in one.lines(0.0, None)[0]


def test_without_a_terminal_a_line_now_and_then() -> None:
    """Every five seconds of each arm, and whatever is said."""
    said: list[str] = []
    one = Picture("none", Spans(10.0, 1.0, 1.0), (PREMIUM,), Progress())
    other = Picture("controlled", Spans(10.0, 1.0, 1.0), (PREMIUM,), Progress())
    with Screen(terminal=False, write=said.append) as screen:
        for at_s in (0.0, 1.0, 4.9, 5.0):
            screen.show(one, at_s, None)
        screen.show(other, 1.0, None)
        screen.say("sweep ...")
    assert [line.partition(",")[0] for line in said] == [
        "none: 0 of 12 s", "none: 5 of 12 s", "controlled: 1 of 12 s", "sweep ...",
    ]  # fmt: skip


def test_on_a_terminal_it_is_drawn_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Both arms of a run side by side, and lines that stay."""
    pictures = [Picture(name, Spans(1.0, 1.0, 1.0), (PREMIUM, BATCH), progress()) for name in ("a", "b")]
    with Screen(terminal=True) as screen:
        for one in pictures:
            screen.show(one, 1.5, MOMENT)
        screen.say("[not markup]")
    assert "[not markup]" in capsys.readouterr().err


def test_tables_are_text_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Aligned columns, one line a row."""
    print_table(("arm", "n"), (("none", "1"),), {})
    assert capsys.readouterr().out == "arm   n\nnone  1\n"
