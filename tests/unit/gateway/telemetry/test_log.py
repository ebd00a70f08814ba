"""The log: one JSON object a line, from a thread, without a client's words."""

from __future__ import annotations

import io
import logging
import queue
import sys

import orjson
import pytest

from gateway.telemetry import log
from gateway.telemetry.log import LOG, JsonFormatter, name_fault, start_log


@pytest.fixture(autouse=True)
def restored():
    """Leave the logger as it was found."""
    kept = LOG.handlers[:], LOG.level, LOG.propagate
    yield
    LOG.handlers[:], LOG.level, LOG.propagate = kept


def lines_of(text: str) -> list[dict]:
    """Read what was written."""
    return [orjson.loads(line) for line in text.splitlines()]


def test_lines_are_json_with_their_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line holds the instant, the level, the event and the facts; lower levels are left out."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    listener = start_log("info")
    LOG.debug("unheard")
    LOG.info("serving", extra={"facts": {"port": 8080}})
    LOG.warning("look at %s", "this")
    listener.stop()
    first, second = lines_of(out.getvalue())
    assert first.pop("at").endswith("Z")
    assert first == {"level": "info", "event": "serving", "port": 8080}
    assert (second["level"], second["event"]) == ("warning", "look at this")
    assert LOG.propagate is False


def test_starting_twice_writes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start replaces the first one's handler."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    first, second = start_log("info"), start_log("info")
    LOG.info("once")
    second.stop()
    first.stop()
    assert len(lines_of(out.getvalue())) == 1


def test_a_slow_terminal_loses_lines_and_stops_nobody() -> None:
    """With the queue full a line is dropped, the caller goes on, and stopping still works."""
    lines: queue.Queue = queue.Queue(1)
    handler = log._Quiet(lines)
    record = logging.LogRecord("lumyn", logging.INFO, "", 0, "x", (), None)
    handler.enqueue(record)
    handler.enqueue(record)
    assert lines.qsize() == 1
    out = io.StringIO()
    listener = log._Writer(lines, logging.StreamHandler(out))
    listener.start()
    listener.stop()
    assert out.getvalue() == "x\n"


def test_a_fault_is_named_by_type_and_place_only() -> None:
    """The words of an error may quote a request: they are left out."""
    with pytest.raises(ValueError) as caught:
        int("a secret")
    named = name_fault(caught.value)
    assert named["error"] == "ValueError"
    assert named["place"].startswith("test_log.py:")
    assert "secret" not in str(named)
    assert name_fault(ValueError("never raised"))["place"] == "nowhere"


def test_the_formatter_prints_the_records_own_time() -> None:
    """The instant is when it happened, not when it was written."""
    record = logging.LogRecord("lumyn", logging.ERROR, "", 0, "x", (), None)
    record.created = 1.0
    assert orjson.loads(JsonFormatter().format(record))["at"] == "1970-01-01T00:00:01Z"
