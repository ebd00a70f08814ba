"""`lumyn verify`."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from tests.kit.refunds import refund


def test_a_store_that_is_as_it_was_written(lumyn, decision_id: str) -> None:
    """Ends with 0 and counts the records."""
    del decision_id
    told = lumyn("verify")
    assert told.code == 0
    assert told.out.startswith("ok: 6 records of 1 writers")
    assert orjson.loads(lumyn("verify", "--json").out)["faults"] == []


def flip_a_byte(decision_id: str) -> str:
    """Change one letter of a stored body in the file itself."""
    path = Path(".lumyn/lumyn.db")
    whole = path.read_bytes()
    place = whole.index(b'"intent":')  # of a body: no index holds it
    path.write_bytes(whole[:place] + b'"Intent":' + whole[place + 9 :])
    return decision_id


def remove_a_row(_: str) -> str:
    return change("DELETE FROM entries WHERE seq = 3", "sequence 3 is missing")


def cut_the_tail(_: str) -> str:
    return change("DELETE FROM entries WHERE seq > 3", "truncated: the chain ends at sequence 3")


def swap_a_pair(_: str) -> str:
    names = "kind, entry_id, tenant, at_ms, action_type, verdict, reason_codes, policy_hash, model, body"
    values = ", ".join(f"(SELECT {name} FROM old WHERE seq = 5 - entries.seq)" for name in names.split(", "))
    drop = "CREATE TEMP TABLE old AS SELECT * FROM entries; DROP INDEX entries_by_id"
    change(f"{drop}; UPDATE entries SET ({names}) = ({values}) WHERE seq IN (2, 3)", "")
    return "sequence 2): changed"


def change(statements: str, named: str) -> str:
    """Change the database as its owner could; return what must be said of it."""
    with contextlib.closing(sqlite3.connect(".lumyn/lumyn.db")) as connection:
        connection.executescript(
            f"DROP TRIGGER entries_never_change; DROP TRIGGER entries_never_leave; {statements};"
        )
    return named


@pytest.mark.parametrize("tamper", [flip_a_byte, remove_a_row, cut_the_tail, swap_a_pair])
def test_each_tampering_is_named(lumyn, decision_id: str, tamper: Callable[[str], str]) -> None:
    """A flipped byte, a removed row, a cut tail and a swapped pair: exit code 1, and the first is named."""
    lumyn("decide", stdin=orjson.dumps(refund(50)))
    assert lumyn("verify").code == 0
    named = tamper(decision_id)
    told = lumyn("verify")
    assert told.code == 1
    assert named in told.err.splitlines()[0]


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
