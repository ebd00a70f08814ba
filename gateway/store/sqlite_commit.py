"""What runs on the writing thread of SQLite: one function call a batch, no hop in between.

Rows go in by one multi-row INSERT: pysqlite gives up the interpreter lock at each step of a statement and
must win it back from the event loop, so a batch of 64 in one step costs one such wait and not 64.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from gateway.store import sqlite_claims
from gateway.store.claims import asked_keys
from gateway.store.ledger import SETTLED_WHOLLY, Ledger, LedgerRow
from gateway.store.rows import COLUMNS, Sealed
from gateway.store.sift import needs_care, questions, sift
from gateway.store.writer import CommitError, Group, Outcome

CHECKPOINT_PAGES: Final = 6_000
"""WAL frames (24 MiB) at which the writer itself moves what is left into the database, so that the WAL
begins anew and stays this size. Most has been moved by then, on another thread; see `sqlite.py`."""
ROWS_MAX: Final = 64
"""Rows in one statement. One statement is kept prepared for each count up to this one: about 1 MB."""
STATEMENTS_CACHED: Final = ROWS_MAX + 16

NO_SPACE: Final = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
"""No room: in the database or its WAL, under a file limit or quota, and where the index of the WAL grows."""
_RECOVERABLE: Final = (*NO_SPACE, "SQLITE_BUSY", "SQLITE_LOCKED")
"""After these (and their extended codes) SQLite has rolled back and no flush has failed: the same write may
be tried again later. A short or refused write (file limit, quota) is written whole again, unlike a flush."""

_ONE: Final = f"({', '.join('?' * len(COLUMNS))})"
_INSERTS: Final = tuple(
    f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES {', '.join([_ONE] * count)}"  # noqa: S608 - constants
    for count in range(ROWS_MAX + 1)
)
_BY_KEY: Final = "SELECT entry_id FROM entries WHERE ifnull(tenant, x'') = ifnull(?, x'') AND request_key = ?"
_BY_ID: Final = "SELECT entry_id FROM entries WHERE entry_id = ?"
_SETTLE: Final = (
    "INSERT INTO settled (writer, after_position) VALUES (?, ?) "
    "ON CONFLICT (writer) DO UPDATE SET after_position = excluded.after_position"
)


class SqliteLedger:
    """Stores batches in one SQLite file. Every method runs on the connection's own thread.

    Every method raises `CommitError`, and nothing else of SQLite's.
    """

    def __init__(self, connection: sqlite3.Connection, ledger: Ledger) -> None:
        self.ledger = ledger
        self._connection = connection

    def commit(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Make a batch durable."""
        try:
            if needs_care(groups):
                return self._commit_with_care(groups, thorough=False)
            return self._commit_at_once([group.entries for group in groups])
        except sqlite3.IntegrityError:
            return self._commit_thoroughly(groups)
        except sqlite3.Error as error:
            raise commit_error(error) from error

    def note_settled(self, *, last: bool) -> None:
        """Store how far everything of this writer is settled, so that a start need not look there again."""
        self._settle(self.ledger.number, self.ledger.open_decisions.settled_up_to(last=last))

    def note_dead(self, number: int) -> None:
        """Store that nothing of another, dead writer is open any more."""
        self._settle(number, SETTLED_WHOLLY)

    def probe(self) -> None:
        """Write and flush a page: the watermark of writer 0, which is none."""
        self._settle(0, self.ledger.open_decisions.settled_up_to(last=False))

    def checkpoint(self) -> None:
        """Move what is left in the WAL into the database. Where it is only locked or full, later will do."""
        try:
            checkpoint(self._connection)
        except sqlite3.Error as error:
            failure = commit_error(error)
            if failure.fatal:
                raise failure from error

    def _settle(self, number: int, position: int) -> None:
        try:
            self._connection.execute(_SETTLE, (number, position))
        except sqlite3.Error as error:
            raise commit_error(error) from error

    def _commit_at_once(self, entries: Sequence[Sequence[Sealed]]) -> Sequence[Outcome]:
        """Store a batch in which nothing can be a duplicate but by a caller's mistake."""
        spans, rows = self.ledger.bind(entries)
        if len(rows) <= ROWS_MAX:
            position = self._insert(rows)  # One statement commits by itself.
        else:
            with _Transaction(self._connection):
                position = self._insert(rows)
        self.ledger.advance(rows, position)
        return spans

    def _commit_thoroughly(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Store a batch after an id of it was refused: look each one up."""
        try:
            return self._commit_with_care(groups, thorough=True)
        except sqlite3.Error as error:
            raise commit_error(error) from error

    def _commit_with_care(self, groups: Sequence[Group], *, thorough: bool) -> Sequence[Outcome]:
        """Store a batch that may hold duplicates or claims something: look first, under the write lock."""
        entries, steps = [group.entries for group in groups], [group.steps for group in groups]
        with _Transaction(self._connection):
            asked = questions(entries, thorough=thorough)
            found = ((key, self._one(_BY_KEY, key)) for key in asked.keys)
            holders = {key: holder for key, holder in found if holder is not None}
            stored_ids = {entry_id for entry_id in asked.ids if self._one(_BY_ID, (entry_id,)) is not None}
            claims = sqlite_claims.look_up(self._connection, asked_keys(steps))
            sifted = sift(entries, holders, stored_ids, steps=steps, claims=claims)
            spans, rows = self.ledger.bind(sifted.kept)
            position = self._insert(rows)
            sqlite_claims.write(self._connection, claims, sifted.claims)
        self.ledger.advance(rows, position)
        return sifted.outcomes(spans)

    def _insert(self, rows: Sequence[LedgerRow]) -> int:
        """Insert rows and return the position of the last one; they lie in one run."""
        position = 0
        for start in range(0, len(rows), ROWS_MAX):
            part = rows[start : start + ROWS_MAX]
            values: list[Any] = []
            for row in part:
                values.extend(row)
            position = self._connection.execute(_INSERTS[len(part)], values).lastrowid or 0
        return position

    def _one(self, sql: str, values: tuple[object, ...]) -> str | None:
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else str(row[0])


class _Transaction:
    """BEGIN IMMEDIATE to COMMIT; on an error it rolls back, where SQLite has not done so itself."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def checkpoint(connection: sqlite3.Connection) -> tuple[int, int]:
    """Move WAL frames into the database without blocking anyone; return how many there are, and are moved.

    We do this ourselves because SQLite's own, after a commit, swallows a failed flush. Raises sqlite3.Error.
    """
    _, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return frames, moved


def commit_error(error: sqlite3.Error) -> CommitError:
    """Say in one line what SQLite said, and whether it may be tried again."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return CommitError(f"{error} ({name})", fatal=not name.startswith(_RECOVERABLE))
