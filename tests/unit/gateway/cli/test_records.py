"""`lumyn records`."""

from __future__ import annotations

import orjson
import pytest

from gateway.store import sqlite_read
from tests.kit.refunds import refund


def test_listing_is_newest_first_and_filtered(lumyn, decision_id: str) -> None:
    """Rows in a pipe are tab-separated with a head; each filter narrows."""
    other = orjson.loads(lumyn("decide", stdin=orjson.dumps(refund(999, tenant=None))).out)["decision_id"]
    rows = [line.split("\t") for line in lumyn("records", "ls").out.splitlines()]
    assert rows[0][:4] == ["decision_id", "created_at", "verdict", "action_type"]
    assert [row[0] for row in rows[1:]] == [other, decision_id]

    def ids(*words: str) -> list[str]:
        return [
            orjson.loads(line)["decision_id"]
            for line in lumyn("records", "ls", "--json", *words).out.splitlines()
        ]

    assert ids("--verdict", "trust") == [decision_id]
    assert ids("--tenant", "acme") == [decision_id]
    assert ids("--reason", "REFUND_OVER_ESCALATION_LIMIT") == [other]
    assert ids("--action-type", "support.none") == []
    assert ids("--limit", "1") == [other]
    assert ids("--since", "1h") == [other, decision_id]
    assert ids("--until", "2020-01-01") == []


def test_a_listing_goes_on_until_it_has_what_was_asked_for(
    lumyn, decision_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a filter wants is found behind any number of decisions that it does not want."""
    for _ in range(5):
        lumyn("decide", stdin=orjson.dumps(refund(999, tenant=None)))
    monkeypatch.setattr(sqlite_read, "EXAMINED_MAX", 2)
    (line,) = lumyn("records", "ls", "--json", "--verdict", "trust").out.splitlines()
    assert orjson.loads(line)["decision_id"] == decision_id
    assert len(lumyn("records", "ls", "--json", "--limit", "3").out.splitlines()) == 3


def test_nothing_dangles_where_nobody_acts(lumyn, decision_id: str) -> None:
    """Decisions of the command line await no outcome."""
    del decision_id
    assert lumyn("records", "dangling", "--json").out == ""


def test_an_instant_that_is_none_is_wrong_usage(lumyn, decision_id: str) -> None:
    """A misspelt --since ends with 2 and says how to write one."""
    del decision_id
    told = lumyn("records", "ls", "--since", "yesterday")
    assert told.code == 2
    assert "24h" in told.err


def test_export_writes_every_decision(lumyn, decision_id: str) -> None:
    """JSON Lines hold record and events, CSV a head and a row; another format is wrong usage."""
    lumyn("label", decision_id, "--failure")
    (line,) = lumyn("records", "export").out.splitlines()
    found = orjson.loads(line)
    assert found["decision"]["decision_id"] == decision_id
    assert [event["type"] for event in found["events"]] == ["label"]
    head, row = lumyn("records", "export", "--format", "csv").out.splitlines()
    assert (head.split(",")[0], row.split(",")[0]) == ("decision_id", decision_id)
    assert lumyn("records", "export", "--tenant", "nobody").out == ""
    assert lumyn("records", "export", "--format", "xml").code == 2
