"""`lumyn records drop`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson
import pytest

LATER_MS = 1_000


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that runs a second ahead: what was just decided is old enough."""
    from gateway.system import SystemClock

    real = SystemClock.wall_ms
    monkeypatch.setattr(SystemClock, "wall_ms", lambda self: real(self) + LATER_MS)


@pytest.mark.usefixtures("later")
def test_old_records_are_exported_and_dropped(lumyn, decision_id: str) -> None:
    """With --yes they are gone from the store, whole in the file, and the chain verifies."""
    told = lumyn("records", "drop", "--before", "0s", "--export", "old.jsonl", "--yes")
    assert told.code == 0, told.err
    assert "exported 6 records" in told.out
    assert "dropped 1 records, kept 5" in told.out
    lines = [orjson.loads(line) for line in Path("old.jsonl").read_bytes().splitlines()]
    assert [line["entry_id"] for line in lines if not line["kept"]] == [decision_id]
    assert lumyn("show", decision_id).code == 1
    assert lumyn("verify").code == 0


@pytest.mark.usefixtures("later")
def test_a_drop_asks_first(lumyn, decision_id: str) -> None:
    """Without --yes a no, or nobody to ask, drops nothing and leaves the export."""
    for name, answer in (("a", b"n\n"), ("b", b"")):
        told = lumyn("records", "drop", "--before", "0s", "--export", name, stdin=answer)
        assert told.code == 1
        assert Path(name).stat().st_size > 0
        assert lumyn("show", decision_id).code == 0
    assert lumyn("records", "drop", "--before", "0s", "--export", "c", stdin=b"y\n").code == 0
    assert lumyn("show", decision_id).code == 1


def test_nothing_is_old_enough(lumyn, decision_id: str) -> None:
    """Where all is younger, that is said and nothing is asked."""
    told = lumyn("records", "drop", "--before", "2020-01-01", "--export", "a")
    assert (told.code, "nothing to drop" in told.out) == (0, True)
    assert lumyn("show", decision_id).code == 0


def test_what_cannot_be_done_is_one_line(lumyn, decision_id: str) -> None:
    """A file that is there, one that cannot be made, a date to come: each refused before anything goes."""
    Path("there").write_text("mine")
    told = lumyn("records", "drop", "--before", "2020-01-01", "--export", "there")
    assert (told.code, "is there already" in told.err) == (1, True)
    assert Path("there").read_text() == "mine"
    told = lumyn("records", "drop", "--before", "2020-01-01", "--export", "no/such/place")
    assert (told.code, "cannot write no/such/place" in told.err) == (1, True)
    told = lumyn("records", "drop", "--before", "2999-01-01", "--export", "a")
    assert (told.code, "future" in told.err) == (2, True)
    assert lumyn("show", decision_id).code == 0


@pytest.mark.usefixtures("later")
def test_what_does_not_verify_is_not_dropped(lumyn, decision_id: str) -> None:
    """A changed record stops the drop before anything goes."""
    connection = sqlite3.connect(".lumyn/lumyn.db")
    connection.execute("DROP TRIGGER entries_never_change")
    connection.execute("UPDATE entries SET verdict = 'ABSTAIN' WHERE entry_id = ?", (decision_id,))
    connection.commit()
    connection.close()
    told = lumyn("records", "drop", "--before", "0s", "--export", "a", "--yes")
    assert (told.code, "its link does not fit" in told.err) == (1, True)
    assert decision_id in lumyn("records", "ls").out
