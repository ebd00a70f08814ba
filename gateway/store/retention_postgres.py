"""Retention on PostgreSQL: pages by position, one transaction a segment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Final, TypeVar

from asyncpg import exceptions as pg

from gateway.kernel.bounds import STORE_COMMIT_S
from gateway.kernel.errors import RecordError, StoreUnavailableError
from gateway.store.postgres_commit import LOST, connect, reason_of
from gateway.store.postgres_read import NO_OUTCOME
from gateway.store.postgres_schema import Connection
from gateway.store.retention import Row, Segment
from gateway.store.rows import ENTRY_LIST
from gateway.store.segments import Cuts, read_cuts

T = TypeVar("T")

SCAN_S: Final = 3_600.0
"""For the two questions that read the whole stretch; nobody waits for them but the one who asked."""
PAGE_ENTRIES: Final = 2_000
"""Entries in one answer: some 3 MB."""

_ROWS: Final = (
    f"SELECT position, writers.writer, seq, link, {ENTRY_LIST} "  # noqa: S608 - constants
    "FROM entries JOIN writers ON writers.number = entries.writer "
    f"WHERE position > $1 AND position <= $2 ORDER BY position LIMIT {PAGE_ENTRIES}"
)
_BOUND: Final = f"""
    SELECT entry_id FROM entries AS waiting WHERE position <= $1 AND kind = 'decision'
    AND ((awaits_outcome = 1 AND {NO_OUTCOME}) OR (request_key IS NOT NULL AND at_ms >= $2))
"""  # noqa: S608 - constants


async def open_vault(dsn: str) -> PostgresVault:
    """Connect to a store that is there. Raises `StoreUnavailableError`."""
    return PostgresVault(await _asked(connect(dsn)))


class PostgresVault:
    """Implements `gateway.store.retention.Vault`; made by `open_vault`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def end(self, before_ms: int) -> int:
        """Return the position up to which every entry is older.

        The lock waits for batches that hold positions already and are not committed yet.
        """
        return await _asked(self._end(before_ms))

    async def cuts(self) -> tuple[int, Cuts]:
        """Return the number of the last segment, and all segments together."""
        sql = "SELECT number, last_position, heads FROM segments ORDER BY number"
        rows = await _asked(self._connection.fetch(sql, timeout=SCAN_S))
        return (rows[-1][0] if rows else 0), read_cuts((row[1], row[2]) for row in rows)

    async def bound(self, up_to: int, keyed_since_ms: int) -> frozenset[str]:
        """Return the decisions that await an outcome or hold a key since `keyed_since_ms`."""
        rows = await _asked(self._connection.fetch(_BOUND, up_to, keyed_since_ms, timeout=SCAN_S))
        return frozenset(row[0] for row in rows)

    async def rows(self, up_to: int) -> AsyncIterator[Row]:
        """Yield entries in the order of their position."""
        after = 0
        while page := await _asked(self._connection.fetch(_ROWS, after, up_to, timeout=SCAN_S)):
            for row in page:
                yield tuple(row)
            after = page[-1][0]

    async def drop(self, segment: Segment, now_ms: int) -> None:
        """Seal a segment and drop what goes, in one transaction."""
        try:
            await _asked(self._drop(segment, now_ms))
        except pg.UniqueViolationError as error:
            raise RecordError("another drop ran meanwhile", hint="export again, to another file") from error

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close(timeout=STORE_COMMIT_S)

    async def _end(self, before_ms: int) -> int:
        async with self._connection.transaction():
            await self._connection.execute("LOCK TABLE entries IN SHARE MODE")
            last = await self._connection.fetchval("SELECT coalesce(max(position), 0) FROM entries")
        sql = "SELECT coalesce(min(position) - 1, $2) FROM entries WHERE at_ms >= $1 AND position <= $2"
        return int(await self._connection.fetchval(sql, before_ms, last, timeout=SCAN_S))

    async def _drop(self, segment: Segment, now_ms: int) -> None:
        firsts = [first for first, _ in segment.dropped]
        lasts = [last for _, last in segment.dropped]
        async with self._connection.transaction():
            await self._connection.execute(
                "INSERT INTO segments (number, last_position, sealed_ms, heads, digest) "
                "VALUES ($1, $2, $3, $4, $5)",
                segment.number, segment.last_position, now_ms, segment.text, segment.digest,
            )  # fmt: skip
            await self._connection.execute(
                "INSERT INTO dropped (segment, first_position, last_position) "
                "SELECT $1, run.first, run.last FROM unnest($2::bigint[], $3::bigint[]) AS run (first, last)",
                segment.number, firsts, lasts,
            )  # fmt: skip
            await self._connection.execute(
                "DELETE FROM entries USING unnest($1::bigint[], $2::bigint[]) AS run (first, last) "
                "WHERE position BETWEEN run.first AND run.last",
                firsts, lasts, timeout=SCAN_S,
            )  # fmt: skip


async def _asked(answer: Awaitable[T]) -> T:
    """Wait for an answer of the server. Raises `StoreUnavailableError`, and what says of a twin."""
    try:
        return await answer
    except pg.UniqueViolationError:
        raise
    except (*LOST, ValueError) as error:
        raise StoreUnavailableError(f"the store cannot be thinned out: {reason_of(error)}") from error
