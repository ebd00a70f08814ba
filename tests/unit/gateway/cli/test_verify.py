"""`lumyn verify`."""

from __future__ import annotations

import sqlite3

import orjson


def test_a_store_that_is_as_it_was_written(lumyn, decision_id: str) -> None:
    """Ends with 0 and counts the records."""
    del decision_id
    told = lumyn("verify")
    assert told.code == 0
    assert told.out.startswith("ok: 6 records of 1 writers")
    assert orjson.loads(lumyn("verify", "--json").out)["faults"] == []


def test_a_changed_record_is_named(lumyn, decision_id: str) -> None:
    """A verdict changed behind our back ends with 1 and the record's id."""
    connection = sqlite3.connect(".lumyn/lumyn.db")
    connection.execute("DROP TRIGGER entries_never_change")
    connection.execute("UPDATE entries SET verdict = 'ABSTAIN' WHERE entry_id = ?", (decision_id,))
    connection.commit()
    connection.close()
    told = lumyn("verify")
    assert told.code == 1
    assert decision_id in told.err
