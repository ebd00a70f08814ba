"""`gateway.pipeline.announce`: what the controller does, in the words that people look for."""

from __future__ import annotations

import logging

import pytest

from gateway.pipeline.announce import LINES_PER_S, WORDS, Announcer
from gateway.telemetry.log import LOG
from tests.kit.entries import StillClock


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """The lines that were written."""
    monkeypatch.setattr(LOG, "propagate", True)
    caplog.set_level(logging.INFO, LOG.name)
    return caplog


def facts(record: logging.LogRecord) -> dict[str, object]:
    """The facts of a line."""
    found: dict[str, object] = record.facts  # type: ignore[attr-defined]
    return found


def action(kind: str, reason: str = "why") -> dict[str, str]:
    """A control action as a record holds it."""
    return {"kind": kind, "reason": reason}


@pytest.mark.parametrize(("kind", "words"), WORDS.items())
def test_each_action_has_its_words(log: pytest.LogCaptureFixture, kind: str, words: str) -> None:
    """The very words, with the reason and what it was done to."""
    Announcer(StillClock()).say([action(kind, "because")], {"decision_id": "01X"})
    [line] = log.records
    assert line.getMessage() == words
    assert facts(line) == {"decision_id": "01X", "reason": "because"}


def test_the_words_are_those_that_were_promised() -> None:
    """Issue 6 names three of them."""
    assert {"switched model", "capped tokens", "reduced batching"} <= set(WORDS.values())


def test_what_passed_untouched_has_no_line(log: pytest.LogCaptureFixture) -> None:
    """A line says that something was done."""
    Announcer(StillClock()).say([action("PASSED")], {})
    assert log.records == []


def test_a_storm_is_a_few_lines_and_a_count(log: pytest.LogCaptureFixture) -> None:
    """So many lines a second of each kind; the next second's first line says how many were left out."""
    clock = StillClock()
    announcer = Announcer(clock)
    for _ in range(100):
        announcer.say([action("MODEL_SWITCHED"), action("TOKENS_CAPPED")], {})
    assert len(log.records) == 2 * LINES_PER_S
    log.clear()
    clock.now_s = 1.0
    announcer.say([action("MODEL_SWITCHED")], {})
    announcer.say([action("MODEL_SWITCHED")], {})
    first, second = log.records
    assert facts(first)["unsaid"] == 100 - LINES_PER_S
    assert "unsaid" not in facts(second)


def test_control_records_are_said_where_people_want_to_know(log: pytest.LogCaptureFixture) -> None:
    """A limit that fell, a mode that changed, intents that were replaced, an action that was undone."""
    announcer = Announcer(StillClock())
    announcer.record("tick", {"actions": [{**action("BATCHING_REDUCED", "reduced"), "model": "m"}]})
    announcer.record("tick", {"state": {}})
    announcer.record("mode", {"before": "active", "after": "guarded", "share": 0, "reason": "r", "at_s": 1})
    announcer.record("intents", {"before": None, "after": "sha256:1"})
    announcer.record("intents", {"before": "sha256:1", "after": "sha256:2"})
    epoch = {"model": "m", "kind": "price_up", "verdict": "harmed", "hypothesis": "h"}
    announcer.record("epoch", {**epoch, "rolled_back": False})
    announcer.record("epoch", {**epoch, "rolled_back": True})
    assert [(line.getMessage(), line.levelname) for line in log.records] == [
        ("reduced batching", "INFO"),
        ("changed mode", "WARNING"),
        ("changed intents", "INFO"),
        ("rolled back", "WARNING"),
    ]
    assert facts(log.records[0]) == {"model": "m", "reason": "reduced"}
    assert facts(log.records[2])["after"] == "sha256:2"
