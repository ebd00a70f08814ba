"""Retention on a SQLite file: a connection of its own, one short transaction a segment.

Space of dropped entries is used again by new ones; the file itself does not shrink.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from gateway.kernel.bounds import STORE_COMMIT_S
from gateway.kernel.errors import RecordError, StoreUnavailableError
from gateway.store.retention import Row, Segment
from gateway.store.rows import ENTRY_LIST
from gateway.store.segments import Cuts, read_cuts
from gateway.store.sqlite_commit import checkpoint
from gateway.store.sqlite_read import NO_OUTCOME

_ROWS: Final = (
    f"SELECT position, writers.writer, seq, link, {ENTRY_LIST} "  # noqa: S608 - constants
    "FROM entries NOT INDEXED JOIN writers ON writers.number = entries.writer "
    "WHERE position <= ? ORDER BY position"
)
_BOUND: Final = f"""
    SELECT entry_id FROM entries AS waiting NOT INDEXED WHERE position <= ? AND kind = 'decision'
    AND ((awaits_outcome = 1 AND {NO_OUTCOME}) OR (request_key IS NOT NULL AND at_ms >= ?))
"""  # noqa: S608 - constants


class SqliteVault:
    """Implements `gateway.store.retention.Vault` on a store that is there. Made of its path.

    Its methods block: the command line has nothing else to do. Raises `StoreUnavailableError`.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=STORE_COMMIT_S
            )
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA fullfsync = ON")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    async def end(self, before_ms: int) -> int:
        """Return the position up to which every entry is older; positions only rise."""
        sql = """
            SELECT ifnull(
              (SELECT position - 1 FROM entries NOT INDEXED WHERE at_ms >= ? ORDER BY position LIMIT 1),
              (SELECT ifnull(max(position), 0) FROM entries))
        """
        return int(self._all(sql, (before_ms,))[0][0])

    async def cuts(self) -> tuple[int, Cuts]:
        """Return the number of the last segment, and all segments together."""
        rows = self._all("SELECT number, last_position, heads FROM segments ORDER BY number")
        return (rows[-1][0] if rows else 0), read_cuts(row[1:] for row in rows)

    async def bound(self, up_to: int, keyed_since_ms: int) -> frozenset[str]:
        """Return the decisions that await an outcome or hold a key since `keyed_since_ms`."""
        return frozenset(row[0] for row in self._all(_BOUND, (up_to, keyed_since_ms)))

    async def rows(self, up_to: int) -> AsyncIterator[Row]:
        """Yield entries in the order of their position."""
        try:
            with closing(self._connection.execute(_ROWS, (up_to,))) as found:
                for row in found:
                    yield row
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    async def drop(self, segment: Segment, now_ms: int) -> None:
        """Seal a segment and drop what goes, in one transaction."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.execute(
                    "INSERT INTO segments (number, last_position, sealed_ms, heads, digest) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (segment.number, segment.last_position, now_ms, segment.text, segment.digest),
                )
                connection.executemany(
                    "INSERT INTO dropped (segment, first_position, last_position) VALUES (?, ?, ?)",
                    ((segment.number, first, last) for first, last in segment.dropped),
                )
                connection.executemany("DELETE FROM entries WHERE position BETWEEN ? AND ?", segment.dropped)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            checkpoint(connection)
        except sqlite3.IntegrityError as error:
            raise RecordError("another drop ran meanwhile", hint="export again, to another file") from error
        except sqlite3.Error as error:
            raise _unavailable(error) from error

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _all(self, sql: str, values: tuple[int, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _unavailable(error) from error


def _unavailable(error: sqlite3.Error) -> StoreUnavailableError:
    return StoreUnavailableError(f"the store cannot be thinned out: {error}")
