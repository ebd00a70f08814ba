"""What runs on the writing thread of SQLite: one function call a batch, no hop in between.

Rows go in by one multi-row INSERT: pysqlite gives up the interpreter lock at each step of a statement and
must win it back from the event loop, so a batch of 64 in one step costs one such wait and not 64.

The chain's head lives here, in memory: this writer is the only one of its chain.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.kernel.errors import ConflictError, DuplicateKeyError
from gateway.records.chain import genesis, link
from gateway.store.anchor import Head
from gateway.store.rows import COLUMNS, Sealed
from gateway.store.writer import CommitError, Group, Outcome

ROWS_MAX: Final = 64
"""Rows in one statement. One statement is kept prepared for each count up to this one: about 1 MB."""
STATEMENTS_CACHED: Final = ROWS_MAX + 16

_RECOVERABLE: Final = frozenset({"SQLITE_FULL", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR_WRITE"})
"""After these SQLite has rolled back and no flush has failed: the same write may be tried again later.
A short or refused write (a file limit, a full quota) rewrites its pages whole, unlike a failed flush."""
_RECOVERABLE_PREFIXES: Final = ("SQLITE_BUSY_", "SQLITE_LOCKED_")

SETTLED_WHOLLY: Final = (1 << 63) - 1
"""The watermark of a writer that is gone and has nothing open."""
OPEN_MAX: Final = 65_536
"""Open decisions that are remembered; more than can be in flight, so that the memory stays bounded."""
SETTLE: Final = (
    "INSERT INTO settled (writer, after_position) VALUES (?, ?) "
    "ON CONFLICT (writer) DO UPDATE SET after_position = excluded.after_position"
)

_ONE: Final = f"({', '.join('?' * len(COLUMNS))})"
_INSERTS: Final = tuple(
    f"INSERT INTO entries ({', '.join(COLUMNS)}) VALUES {', '.join([_ONE] * count)}"  # noqa: S608 - constants
    for count in range(ROWS_MAX + 1)
)
_BY_KEY: Final = (
    "SELECT entry_id FROM entries WHERE ifnull(tenant, x'') = ifnull(?, x'') AND request_key = ? "
    "AND request_key IS NOT NULL"
)
_BY_ID: Final = "SELECT 1 FROM entries WHERE entry_id = ?"


class Ledger:
    """The writing end of one chain in one SQLite file. Every method runs on the connection's own thread."""

    def __init__(self, connection: sqlite3.Connection, writer: str, number: int, position: int) -> None:
        self.writer = writer
        self.open_decisions = OpenDecisions(position)
        self._number = number
        self._connection = connection
        self._next_seq = 0
        self._head = genesis(writer)
        self._last_position = position

    def head(self, now_ms: int) -> Head:
        """Return the last durable entry (-1 and the genesis link before the first)."""
        return Head(self.writer, self._next_seq - 1, self._head, now_ms)

    def note_settled(self, *, last: bool) -> None:
        """Store how far everything of this writer is settled, so that a start need not look there again."""
        self._write(SETTLE, (self._number, self.open_decisions.settled_up_to(last=last)))

    def note_dead(self, number: int) -> None:
        """Store that nothing of another, dead writer is open any more."""
        self._write(SETTLE, (number, SETTLED_WHOLLY))

    def probe(self) -> None:
        """Write and flush a page: the watermark of writer 0, which is none."""
        self._write(SETTLE, (0, self._last_position))

    def _write(self, sql: str, values: tuple[int, ...]) -> None:
        try:
            self._connection.execute(sql, values)
        except sqlite3.Error as error:
            raise commit_error(error) from error

    def commit(self, groups: Sequence[Group]) -> list[Outcome]:
        """Make a batch durable. Raises `CommitError`."""
        try:
            if any(_needs_care(entry) for group in groups for entry in group.entries):
                return self._commit_with_care(groups)
            try:
                return self._commit_at_once(groups)
            except sqlite3.IntegrityError:
                return self._commit_with_care(groups)
        except sqlite3.Error as error:
            raise commit_error(error) from error

    def _commit_at_once(self, groups: Sequence[Group]) -> list[Outcome]:
        """Store a batch in which nothing can be a duplicate but by a caller's mistake."""
        outcomes, rows = self._chained(groups)
        if len(rows) <= ROWS_MAX:
            self._insert(rows)  # One statement commits by itself.
        else:
            with _Transaction(self._connection):
                self._insert(rows)
        self._advance(rows)
        return outcomes

    def _commit_with_care(self, groups: Sequence[Group]) -> list[Outcome]:
        """Store a batch that holds idempotency keys or policies: look first, under the write lock."""
        with _Transaction(self._connection):
            refused: dict[int, ConflictError] = {}
            kept: list[Sequence[Sealed]] = []
            keys: dict[tuple[str | None, str], str] = {}
            ids: set[str] = set()
            for index, group in enumerate(groups):
                clash = self._clash(group.entries, keys, ids)
                if clash is not None:
                    refused[index] = clash
                    continue
                kept.append(self._fresh(group.entries, ids))
                ids.update(entry.entry_id for entry in group.entries)
                keys.update(
                    ((entry.tenant_id, entry.request_key), entry.entry_id)
                    for entry in group.entries
                    if entry.request_key is not None
                )
            outcomes, rows = self._chain_entries(kept)
            self._insert(rows)
        self._advance(rows)
        stored = iter(outcomes)
        return [refused[index] if index in refused else next(stored) for index in range(len(groups))]

    def _clash(
        self, entries: Sequence[Sealed], keys: dict[tuple[str | None, str], str], ids: set[str]
    ) -> ConflictError | None:
        """Return why a group cannot be stored: a key or an id that is taken, here or in this batch."""
        own: set[str] = set()
        own_keys: dict[tuple[str | None, str], str] = {}
        for entry in entries:
            if entry.request_key is not None:
                key = (entry.tenant_id, entry.request_key)
                holder = keys.get(key) or own_keys.get(key) or self._one(_BY_KEY, key)
                if holder is not None:
                    return DuplicateKeyError(holder)
                own_keys[key] = entry.entry_id
            if entry.kind == "policy":
                continue
            entry_id = entry.entry_id
            if entry_id in own or entry_id in ids or self._one(_BY_ID, (entry_id,)) is not None:
                return ConflictError(f"{entry.kind} {entry_id} is stored already")
            own.add(entry_id)
        return None

    def _fresh(self, entries: Sequence[Sealed], ids: set[str]) -> list[Sealed]:
        """Leave out the policies that are there already: appending one again changes nothing."""
        fresh: list[Sealed] = []
        own: set[str] = set()
        for entry in entries:
            if entry.kind == "policy":
                entry_id = entry.entry_id
                if entry_id in own or entry_id in ids or self._one(_BY_ID, (entry_id,)) is not None:
                    continue
                own.add(entry_id)
            fresh.append(entry)
        return fresh

    def _chained(self, groups: Sequence[Group]) -> tuple[list[Outcome], list[tuple[Any, ...]]]:
        return self._chain_entries([group.entries for group in groups])

    def _chain_entries(
        self, groups: Iterable[Sequence[Sealed]]
    ) -> tuple[list[Outcome], list[tuple[Any, ...]]]:
        """Number and bind entries; the ledger itself moves on only when they are durable."""
        outcomes: list[Outcome] = []
        rows: list[tuple[Any, ...]] = []
        number, seq, head = self._number, self._next_seq, self._head
        for entries in groups:
            first = seq
            for entry in entries:
                head = link(head, entry.header, entry.row[-1])
                rows.append((number, seq, head, *entry.row))
                seq += 1
            outcomes.append((first, seq - 1))
        return outcomes, rows

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), ROWS_MAX):
            part = rows[start : start + ROWS_MAX]
            values: list[Any] = []
            for row in part:
                values.extend(row)
            self._last_position = self._connection.execute(_INSERTS[len(part)], values).lastrowid or 0

    def _advance(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take note that rows are durable."""
        if rows:
            self._next_seq = rows[-1][1] + 1
            self._head = rows[-1][2]
            self.open_decisions.note(rows, self._last_position)

    def _one(self, sql: str, values: tuple[object, ...]) -> Any:
        row = self._connection.execute(sql, values).fetchone()
        return None if row is None else row[0]


class OpenDecisions:
    """Which decisions of this writer still await their outcome, and so how far all is settled."""

    def __init__(self, position: int) -> None:
        self._open: dict[str, int] = {}
        self._last = position
        self._floor: int | None = None

    def note(self, rows: Sequence[tuple[Any, ...]], last_position: int) -> None:
        """Take note of rows in `COLUMNS` order that were stored as one run ending at `last_position`."""
        position = last_position - len(rows)
        still_open = self._open
        for row in rows:
            position += 1
            if row[_AWAITS]:
                still_open[row[_ID]] = position
            elif row[_DECISION] is not None and row[_LABEL] == "outcome":
                still_open.pop(row[_DECISION], None)
        self._last = last_position
        while len(still_open) > OPEN_MAX:
            oldest = still_open.pop(next(iter(still_open)))
            if self._floor is None:
                self._floor = oldest

    def settled_up_to(self, *, last: bool) -> int:
        """Return the position up to which this writer left nothing open; `last`: it writes no more."""
        if self._floor is not None:
            return self._floor - 1
        if self._open:
            return next(iter(self._open.values())) - 1
        return SETTLED_WHOLLY if last else self._last


_ID: Final = COLUMNS.index("entry_id")
_AWAITS: Final = COLUMNS.index("awaits_outcome")
_DECISION: Final = COLUMNS.index("decision_id")
_LABEL: Final = COLUMNS.index("label")


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


def commit_error(error: sqlite3.Error) -> CommitError:
    """Say in one line what SQLite said, and whether it may be tried again."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    recoverable = name in _RECOVERABLE or name.startswith(_RECOVERABLE_PREFIXES)
    return CommitError(f"{error} ({name})", fatal=not recoverable)


def _needs_care(entry: Sealed) -> bool:
    row = entry.row
    return row[10] is not None or row[0] == "policy"
