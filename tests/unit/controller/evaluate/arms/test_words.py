"""Words: a timeline whose repeated lines are one, tables, clocks."""

from __future__ import annotations

import math

from controller.evaluate.arms.data import Called, Told
from controller.evaluate.arms.words import (
    clock,
    epoch_words,
    generator,
    results,
    seconds,
    text_table,
    timeline,
    timeline_text,
    tools,
)
from controller.evaluate.page import Table
from tests.kit.arms import arm, comparison, missed, offered

EPOCH = {
    "epoch_id": 3, "model": "large", "kind": "price_up", "verdict": None, "hypothesis": "fewer misses",
    "miss_before": 0.3, "miss_after": 0.01, "basis": "measured", "rolled_back": False,
}  # fmt: skip


def switched(at_s: float, who: str = "premium", to: str = "mid") -> Told:
    """A decision in the words of a record."""
    return Told(at_s, who, "MODEL_SWITCHED", f"switched large -> {to}: predicted TTFT {at_s:.2f} s > 2.00 s")


def test_what_repeats_is_one_line() -> None:
    """Decisions of one kind that follow closely are counted; a gap, another class or model begins anew."""
    told = (switched(1.0), switched(2.0), switched(1.5, "batch"), switched(2.5, to="small"), switched(9.0))
    lines = timeline(arm("x", told=told))
    assert [(line.told.at_s, line.told.who, line.more) for line in lines] == [
        (1.0, "premium", 1),
        (1.5, "batch", 0),
        (2.5, "premium", 0),
        (9.0, "premium", 0),
    ]


def test_the_timeline_says_when_who_what_and_why() -> None:
    """By the wall clock where there was one, and how many more until when."""
    told = (switched(7.0), switched(11.0))
    text = timeline_text(arm("x", told=told, began="11:59:58"))
    assert text == (
        "12:00:05 premium: switched large -> mid: predicted TTFT 7.00 s > 2.00 s (and 1 more until 12:00:09)"
    )
    assert clock(arm("x"), 7.25) == "t+007.2 s"


def test_a_timeline_has_an_end() -> None:
    """Two hundred lines are shown, and that there are more is said."""
    told = tuple(switched(10.0 * index) for index in range(300))
    lines = timeline_text(arm("x", told=told)).splitlines()
    assert len(lines) == 201
    assert lines[-1].startswith("... the first 200")


def test_epochs_in_words() -> None:
    """An open epoch promises; a closed one says what came of it."""
    assert epoch_words(EPOCH) == "large price up: epoch 3 opened, promise: fewer misses"
    closed = {**EPOCH, "verdict": "harmed", "rolled_back": True}
    assert epoch_words(closed).endswith("epoch 3 harmed (measured), misses 0.30 -> 0.01, rolled back")


def test_the_table_has_two_rows_an_arm() -> None:
    """All that was offered, then the spike; a class nobody asked for is a hyphen."""
    found = results(comparison(arm("none", offered(1, 1.0), missed(2, 12.0))))
    assert [row[:4] for row in found.rows] == [("none", "all", "2", "0.500"), ("", "spike", "1", "0.000")]
    assert found.rows[0][5] == "-"
    assert "never" in found.rows[1]


def test_the_generator_and_the_tools_have_tables() -> None:
    """Lag, chunks and retries; verdicts and how long they took."""
    calls = (Called(1.0, 0.002, "TRUST"), Called(2.0, None, ""), Called(3.0, 0.004, "ESCALATE"))
    run = comparison(arm("x", offered(1, 1.0, tries=3, lag_s=0.01), called=calls, chunks=(5, 7)))
    assert generator(run).rows == (("x", "1", "3", "10.0 ms", "7", "12", "2"),)
    assert tools(run).rows == (("x", "3", "2", "4.0 ms", "-", "ESCALATE 1, TRUST 1"),)


def test_text_tables_line_up() -> None:
    """The first two columns stand left, numbers right."""
    text = text_table(Table(("a", "b", "n"), (("x", "yy", "1"), ("long", "z", "22"))))
    assert text.splitlines() == ["a     b    n", "x     yy   1", "long  z   22"]
    assert (seconds(1.234), seconds(math.inf), seconds(math.nan)) == ("1.23 s", "never", "-")
