"""`lumyn verify` on SQLite: finds what is stored and is not what was written, or not in its order.

Streams the entries in the order of their commit through the checks of `audit`, in several processes where
there are many. Reads only, may run beside a live gateway, and never raises for what it finds: a damaged
file is a finding.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from gateway.kernel.bounds import STORE_COMMIT_S
from gateway.kernel.errors import RecordError
from gateway.store.anchor import Head, anchor_path, furthest, read_anchors
from gateway.store.audit import Anchored, Fault, Part, Progress, Report, check_rows, check_sealed, join
from gateway.store.rows import COLUMNS
from gateway.store.segments import read_cuts

CHUNK_POSITIONS: Final = 20_000
"""Entries one process checks at a time: a third of a second, so that progress moves."""
INLINE_MAX: Final = 2 * CHUNK_POSITIONS
"""Up to so many entries a second process costs more (0.3 s to start) than it saves."""

_RESTORE: Final = "restore from an export"
POSITION_MIN: Final = -(1 << 63)
"""No entry of ours lies below 1; what somebody put there is looked at all the same."""
_ROWS: Final = (
    f"SELECT position, {', '.join(COLUMNS)} FROM entries NOT INDEXED "  # noqa: S608 - constants
    "WHERE position >= ? AND position < ? ORDER BY position"
)


def verify_sqlite(
    path: Path,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
    anchors: Mapping[str, Head] | None = None,
) -> Report:
    """Verify the store in a SQLite file with `jobs` processes.

    `anchors` are heads known from elsewhere (logs); those of the anchor file beside it are always used.
    Raises `RecordError` only where the file cannot be opened at all.
    """
    # Anchors first: what is committed while we look lies behind them.
    wanted = furthest([*read_anchors(anchor_path(path)).values(), *(anchors or {}).values()])
    anchored = {(head.writer, head.seq): head.link for head in wanted.values()}
    try:
        with contextlib.closing(_open(path)) as connection:
            writers = dict(connection.execute("SELECT number, writer FROM writers").fetchall())
            cuts = read_cuts(connection.execute("SELECT last_position, heads FROM segments ORDER BY number"))
            first, last = connection.execute(
                "SELECT ifnull(min(position), 0), ifnull(max(position), 0) FROM entries WHERE position > ?",
                (cuts.last_position,),
            ).fetchone()
            kept = check_sealed(
                connection.execute(_ROWS, (POSITION_MIN, cuts.last_position + 1)), writers, anchored, cuts
            )
    except (sqlite3.Error, ValueError) as error:  # ValueError: damage even in what SQLite says of it
        locked = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        hint = "another process holds a lock on it: find it with `fuser`" if locked else _RESTORE
        raise RecordError(f"{path} cannot be read: {error}", hint=hint) from error
    starts = range(first, last + 1, CHUNK_POSITIONS)
    spans = [(start, min(start + CHUNK_POSITIONS, last + 1)) for start in starts]
    check = partial(check_span, path, writers, anchored)
    parallel = jobs > 1 and last - first >= INLINE_MAX
    parts = _in_processes(check, spans, jobs) if parallel else map(check, spans)
    return join(kept, _with_progress(parts, spans, progress), cuts.heads, wanted)


def check_span(path: Path, writers: Mapping[int, str], anchored: Anchored, span: tuple[int, int]) -> Part:
    """Check the entries from `span[0]` up to but not `span[1]`, each against the one before it here."""
    part = Part()
    try:
        with contextlib.closing(_open(path)) as connection:
            check_rows(part, connection.execute(_ROWS, span), writers, anchored)
    except (sqlite3.Error, ValueError) as error:
        position = part.reached(span[0] - 1) + 1
        part.faults.append(Fault(position, "unknown", -1, "", f"the file is damaged here: {error}"))
    return part


def _in_processes(
    check: Callable[[tuple[int, int]], Part], spans: list[tuple[int, int]], jobs: int
) -> Iterator[Part]:
    # Not fork: a caller may have threads, and a lock held in one of them would stay locked for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        yield from pool.map(check, spans)


def _with_progress(
    parts: Iterable[Part], spans: list[tuple[int, int]], progress: Progress | None
) -> Iterator[Part]:
    total = spans[-1][1] - spans[0][0] if spans else 0
    for part, span in zip(parts, spans, strict=True):
        if progress is not None:
            progress(span[1] - spans[0][0], total)
        yield part


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=STORE_COMMIT_S
    )
    connection.execute("PRAGMA query_only = ON")
    return connection
