"""What runs on the writing thread: whole batches or nothing, and faults told apart."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.kernel.errors import ConflictError, DuplicateKeyError
from gateway.store.ledger import Ledger
from gateway.store.rows import seal
from gateway.store.sqlite_commit import ROWS_MAX, SqliteLedger, checkpoint, commit_error
from gateway.store.sqlite_schema import migrate
from gateway.store.writer import CommitError, Group
from tests.kit.entries import decision, policy


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A migrated database in WAL mode."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0.01)) as opened:
        opened.execute("PRAGMA journal_mode = WAL")
        migrate(opened, "a.db")
        yield opened


def group(*entries: object) -> Group:
    """Entries that are stored together; nobody waits here."""
    loop = asyncio.new_event_loop()
    try:
        return Group(tuple(map(seal, entries)), loop.create_future())
    finally:
        loop.close()


def stored(connection: sqlite3.Connection) -> list[tuple[int, str]]:
    """Sequence and id of all that is stored, in the order of positions."""
    return connection.execute("SELECT seq, entry_id FROM entries ORDER BY position").fetchall()


@pytest.mark.parametrize("count", [1, ROWS_MAX, ROWS_MAX + 1, 3 * ROWS_MAX + 5])
def test_a_batch_of_any_size_is_one_run(connection: sqlite3.Connection, count: int) -> None:
    """However many statements it takes, rows lie in the order of the batch, without a gap."""
    ledger = SqliteLedger(connection, Ledger("W", 1, 0))
    assert ledger.commit([group(*(decision(n) for n in range(count))), group(decision(count))]) == [
        (0, count - 1),
        (count, count),
    ]
    assert stored(connection) == [(n, decision(n).entry_id) for n in range(count + 1)]


def test_one_refused_group_does_not_touch_the_others(connection: sqlite3.Connection) -> None:
    """A taken key and a taken id refuse their groups alone; a policy that is there is passed over."""
    ledger = SqliteLedger(connection, Ledger("W", 1, 0))
    ledger.commit([group(policy(), decision(1, request_key="k"))])
    outcomes = ledger.commit(
        [group(decision(2)), group(decision(3), decision(4, request_key="k")), group(policy(), decision(5))]
    )
    assert (outcomes[0], outcomes[2]) == ((2, 2), (3, 3))
    assert isinstance(outcomes[1], DuplicateKeyError)
    twin, other = ledger.commit([group(decision(2)), group(decision(6))])
    assert isinstance(twin, ConflictError)
    assert other == (4, 4)
    assert [seq for seq, _ in stored(connection)] == [0, 1, 2, 3, 4]


def test_a_locked_database_fails_the_batch_and_leaves_no_gap(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    """Nothing of a failed batch is stored, it may be tried again, and the next one takes its numbers."""
    ledger = SqliteLedger(connection, Ledger("W", 1, 0))
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for batch in ([group(decision(1))], [group(*map(decision, range(99)))], [group(policy())]):
            with pytest.raises(CommitError) as caught:
                ledger.commit(batch)
            assert not caught.value.fatal
        for write in (ledger.probe, lambda: ledger.note_settled(last=True), lambda: ledger.note_dead(9)):
            with pytest.raises(CommitError):
                write()
        other.execute("ROLLBACK")
    ledger.probe()
    assert ledger.commit([group(decision(1))]) == [(0, 0)]
    assert checkpoint(connection)[0] > 0


@pytest.mark.parametrize(
    ("name", "fatal"),
    [
        ("SQLITE_FULL", False),
        ("SQLITE_BUSY", False),
        ("SQLITE_BUSY_SNAPSHOT", False),
        ("SQLITE_LOCKED", False),
        ("SQLITE_IOERR_WRITE", False),
        ("SQLITE_IOERR_SHMSIZE", False),
        ("SQLITE_IOERR_FSYNC", True),
        ("SQLITE_IOERR_DIR_FSYNC", True),
        ("SQLITE_IOERR_READ", True),
        ("SQLITE_CORRUPT", True),
        ("SQLITE_NOTADB", True),
        ("SQLITE_READONLY", True),
        ("", True),
    ],
)
def test_only_what_left_no_doubt_may_be_tried_again(name: str, fatal: bool) -> None:
    """A failed flush, damage and whatever is not known end the writing; a full or locked disk does not."""
    error = sqlite3.OperationalError("words")
    error.sqlite_errorname = name  # type: ignore[misc]
    found = commit_error(error)
    assert found.fatal is fatal
    assert "words" in found.reason
