"""`lumyn verify` on PostgreSQL: one snapshot, read in stretches through the checks of `audit`.

Where there are many entries several processes read, each by a connection of its own, and all see the
snapshot of the first (`pg_export_snapshot`). Reads only and may run beside live gateways. The server itself
refuses what it finds damaged on its disk; that is a finding too.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, Final, TypeAlias

from asyncpg import exceptions as pg

from gateway.kernel.errors import RecordError
from gateway.store.anchor import Head, furthest
from gateway.store.audit import Anchored, Fault, Part, Progress, Report, check_rows, check_sealed, join
from gateway.store.postgres_commit import DAMAGED, LOST, connect, reason_of
from gateway.store.postgres_schema import Connection
from gateway.store.rows import COLUMNS
from gateway.store.segments import read_cuts

Span: TypeAlias = tuple[int, int]
"""Positions after the first number, up to the second."""

PAGE_ENTRIES: Final = 2_000
"""Entries in one answer: some 3 MB."""
PAGE_S: Final = 60.0
"""A server that takes longer for one page does not answer any more."""
SPAN_POSITIONS: Final = 20_000
"""What one process reads at a time: half a second, so that progress moves."""
INLINE_MAX: Final = 2 * SPAN_POSITIONS
"""Up to so many entries a second process costs more (0.5 s to start) than it saves."""
_ROWS: Final = (
    f"SELECT position, {', '.join(COLUMNS)} FROM entries "  # noqa: S608 - constants
    f"WHERE position > $1 AND position <= $2 ORDER BY position LIMIT {PAGE_ENTRIES}"
)
_PATIENT: Final = {"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": "0"}
"""The first connection only waits while the others read; its snapshot must last as long."""


async def verify_postgres(
    dsn: str,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    anchors: Mapping[str, Head] | None = None,
) -> Report:
    """Verify the store in a PostgreSQL database with `jobs` processes against `anchors`.

    `anchors` are heads that were read before it is looked at. Raises `RecordError` only where it cannot be
    read at all.
    """
    wanted = furthest((anchors or {}).values())
    try:
        connection = await connect(dsn, **_PATIENT)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _verify(connection, dsn, jobs, progress, wanted)
        finally:
            await connection.close(timeout=PAGE_S)
    except (*LOST, ValueError) as error:
        raise RecordError(
            f"the store cannot be read: {reason_of(error)}", hint="check storage.url and that the server runs"
        ) from error


async def _verify(
    connection: Connection, dsn: str, jobs: int, progress: Progress | None, wanted: Mapping[str, Head]
) -> Report:
    anchored = {(head.writer, head.seq): head.link for head in wanted.values()}
    writers = {row[0]: row[1] for row in await connection.fetch("SELECT number, writer FROM writers")}
    segments = await connection.fetch("SELECT last_position, heads FROM segments ORDER BY number")
    cuts = read_cuts(map(tuple, segments))
    total = await connection.fetchval("SELECT count(*) FROM entries", timeout=PAGE_S)
    last = await connection.fetchval("SELECT coalesce(max(position), 0) FROM entries")
    sealed: list[Sequence[Any]] = []
    async for page in _pages(connection, (-1, cuts.last_position)):
        sealed += page
    kept = check_sealed(sealed, writers, anchored, cuts)
    starts = range(cuts.last_position, last, SPAN_POSITIONS)
    spans = [(start, min(start + SPAN_POSITIONS, last)) for start in starts]
    if jobs > 1 and last - cuts.last_position > INLINE_MAX:
        found = _in_processes(connection, dsn, jobs, writers, anchored, spans)
    else:
        found = _in_this_one(connection, writers, anchored, spans)
    parts: list[Part] = []
    done = len(sealed)
    async for part in found:
        parts.append(part)
        done += part.records
        if progress is not None:
            progress(done, total)
    return join(kept, parts, cuts.heads, wanted)


async def check_span(
    connection: Connection, writers: Mapping[int, str], anchored: Anchored, span: Span
) -> Part:
    """Check the entries of a span, each against the one before it here. Raises what is in `LOST`."""
    part = Part()
    try:
        async with connection.transaction():  # A savepoint: what is behind the damage is still looked at.
            async for page in _pages(connection, span):
                check_rows(part, page, writers, anchored)
    except pg.PostgresError as error:
        if getattr(error, "sqlstate", None) not in DAMAGED:
            raise
        what = f"the database is damaged here: {error}"
        part.faults.append(Fault(part.reached(span[0]) + 1, "unknown", -1, "", what))
    return part


def check_span_apart(
    dsn: str, snapshot: str, writers: Mapping[int, str], anchored: Anchored, span: Span
) -> Part:
    """Check a span of an exported snapshot, in a process of its own. Raises ConnectionError."""

    async def check() -> Part:
        connection = await connect(dsn, **_PATIENT)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
                return await check_span(connection, writers, anchored, span)
        finally:
            await connection.close(timeout=PAGE_S)

    try:
        return asyncio.run(check())
    except LOST as error:  # Not every error of asyncpg's comes through to another process.
        raise ConnectionError(str(error)) from None


async def _in_this_one(
    connection: Connection, writers: Mapping[int, str], anchored: Anchored, spans: Sequence[Span]
) -> AsyncIterator[Part]:
    for span in spans:
        yield await check_span(connection, writers, anchored, span)


async def _in_processes(
    connection: Connection,
    dsn: str,
    jobs: int,
    writers: Mapping[int, str],
    anchored: Anchored,
    spans: Sequence[Span],
) -> AsyncIterator[Part]:
    snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
    check = partial(check_span_apart, dsn, snapshot, writers, anchored)
    loop = asyncio.get_running_loop()
    # Not fork: this process has a loop with a connection on it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=jobs, mp_context=context)
    try:
        for part in [loop.run_in_executor(pool, check, span) for span in spans]:
            yield await part
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _pages(connection: Connection, span: Span) -> AsyncIterator[list[Sequence[Any]]]:
    after, up_to = span
    while page := await connection.fetch(_ROWS, after, up_to, timeout=PAGE_S):
        yield [tuple(row) for row in page]
        after = page[-1][0]
