"""`lumyn verify` on PostgreSQL: one snapshot, read in pages through the checks of `audit`.

Reads only and may run beside live gateways. The server itself refuses what it finds damaged on its disk;
that is a finding too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from asyncpg import exceptions as pg

from gateway.kernel.errors import RecordError
from gateway.store.anchor import Head, furthest
from gateway.store.audit import Fault, Part, Progress, Report, check_rows, check_sealed, join
from gateway.store.postgres_commit import DAMAGED, LOST, connect, reason_of
from gateway.store.postgres_schema import Connection
from gateway.store.rows import COLUMNS
from gateway.store.segments import read_cuts

PAGE_ENTRIES: Final = 2_000
"""Entries in one answer: some 3 MB."""
PAGE_S: Final = 60.0
"""A server that takes longer for one page does not answer any more."""
_ROWS: Final = (
    f"SELECT position, {', '.join(COLUMNS)} FROM entries "  # noqa: S608 - constants
    f"WHERE position > $1 AND position <= $2 ORDER BY position LIMIT {PAGE_ENTRIES}"
)


async def verify_postgres(
    dsn: str, *, progress: Progress | None = None, anchors: Mapping[str, Head] | None = None
) -> Report:
    """Verify the store in a PostgreSQL database against `anchors`, read before it is looked at.

    Raises `RecordError` only where it cannot be read at all.
    """
    try:
        connection = await connect(dsn, default_transaction_read_only="on")
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _verify(connection, progress, furthest((anchors or {}).values()))
        finally:
            await connection.close(timeout=PAGE_S)
    except (*LOST, ValueError) as error:
        raise RecordError(
            f"the store cannot be read: {reason_of(error)}", hint="check storage.url and that the server runs"
        ) from error


async def _verify(connection: Connection, progress: Progress | None, wanted: Mapping[str, Head]) -> Report:
    anchored = {(head.writer, head.seq): head.link for head in wanted.values()}
    writers = {row[0]: row[1] for row in await connection.fetch("SELECT number, writer FROM writers")}
    segments = await connection.fetch("SELECT last_position, heads FROM segments ORDER BY number")
    cuts = read_cuts(map(tuple, segments))
    total = await connection.fetchval("SELECT count(*) FROM entries", timeout=PAGE_S)
    last = await connection.fetchval("SELECT coalesce(max(position), 0) FROM entries")
    sealed: list[Sequence[Any]] = []
    async for page in _pages(connection, -1, cuts.last_position):
        sealed += page
    kept = check_sealed(sealed, writers, anchored, cuts)
    part = Part()
    done = len(sealed)
    after = cuts.last_position
    try:
        async for page in _pages(connection, after, last):
            check_rows(part, page, writers, anchored)
            after = page[-1][0]
            done += len(page)
            if progress is not None:
                progress(done, total)
    except pg.PostgresError as error:
        if getattr(error, "sqlstate", None) not in DAMAGED:
            raise
        part.faults.append(Fault(after + 1, "unknown", -1, "", f"the database is damaged here: {error}"))
    return join(kept, (part,), cuts.heads, wanted)


async def _pages(connection: Connection, after: int, up_to: int) -> AsyncIterator[list[Sequence[Any]]]:
    while page := await connection.fetch(_ROWS, after, up_to, timeout=PAGE_S):
        yield [tuple(row) for row in page]
        after = page[-1][0]
