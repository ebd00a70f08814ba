"""`controller.intent.fields`."""

from __future__ import annotations

from controller.intent.fields import Fields, escaped
from controller.intent.types import IntentProblem


def test_pointers_are_escaped() -> None:
    """`~` and `/` in a key become `~0` and `~1` (RFC 6901)."""
    assert escaped("a/b~c") == "a~1b~0c"


def test_durations_in_every_unit() -> None:
    """ms, s, m, h and d are read; anything else is a problem."""
    problems: list[IntentProblem] = []
    data = {"a": "250ms", "b": "1.5s", "c": "2m", "d": "1h", "e": "1d", "f": "1w", "g": 5}
    fields = Fields(data, "", problems)
    assert [fields.duration_s(name) for name in "abcde"] == [0.25, 1.5, 120.0, 3600.0, 86400.0]
    assert (fields.duration_s("f"), fields.duration_s("g")) == (None, None)
    assert [problem.pointer for problem in problems] == ["/f", "/g"]


def test_null_is_absent() -> None:
    """An explicit null reads as not given, for every reader."""
    problems: list[IntentProblem] = []
    fields = Fields({"x": None}, "", problems)
    assert fields.text("x") is None
    assert fields.number("x", 0, 1) is None
    assert fields.texts("x") is None
    assert fields.sub("x") is None
    assert fields.flag("x") is False
    assert problems == []
