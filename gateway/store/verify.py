"""`lumyn verify`: finds what is stored and is not what was written, or not in its order, or not all of it.

Streams the entries in the order of their commit, in several processes where there are many. Each entry's
link is computed anew from the stored bytes and columns and from the link before it; sequences must run on
without a gap; columns must agree with bodies; and every head that was anchored outside must be reached.
Reads only, may run beside a live gateway, and never raises for what it finds: a damaged file is a finding.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from gateway.kernel.errors import RecordError
from gateway.records.agree import disagreement, plainly_agrees
from gateway.records.chain import genesis, link
from gateway.store.anchor import Head, anchor_path, read_anchors
from gateway.store.rows import COLUMNS, entry_of, header_of

CHUNK_POSITIONS: Final = 20_000
"""Entries one process checks at a time: a third of a second, so that progress moves."""
INLINE_MAX: Final = 2 * CHUNK_POSITIONS
"""Up to so many entries a second process costs more (0.3 s to start) than it saves."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with entries checked so far, and all of them."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong. `position` is the place in the file's order, `seq` the one in the writer's chain."""

    position: int
    writer: str
    seq: int
    entry_id: str
    what: str

    def __str__(self) -> str:
        name = f"{self.entry_id} " if self.entry_id else ""
        return f"record {name}(writer {self.writer}, sequence {self.seq}): {self.what}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found, faults in the order of the file."""

    records: int
    heads: Mapping[str, Head]
    """The last entry of each writer, as it is stored."""
    faults: tuple[Fault, ...]

    def raise_first(self) -> None:
        """Raise `RecordError` that names the first fault, where there is one."""
        if self.faults:
            raise RecordError(
                str(self.faults[0]), hint=f"{len(self.faults)} faults in all; restore from an export"
            )


@dataclass(slots=True)
class Part:
    """What one process found in its chunk, and the ends that its neighbours must fit."""

    records: int = 0
    faults: list[Fault] = field(default_factory=list)
    firsts: dict[str, tuple[int, int, str, bytes, bytes, bytes]] = field(default_factory=dict)
    """Of each writer's first entry: position, seq, id, link, header, body."""
    lasts: dict[str, tuple[int, int, bytes]] = field(default_factory=dict)
    """Of each writer's last entry: position, seq, link."""


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
    wanted = dict(read_anchors(anchor_path(path)))
    for writer, head in (anchors or {}).items():
        if writer not in wanted or wanted[writer].seq < head.seq:
            wanted[writer] = head
    try:
        connection = _open(path)
        try:
            writers = dict(connection.execute("SELECT number, writer FROM writers").fetchall())
            first, last = connection.execute(
                "SELECT ifnull(min(position), 0), ifnull(max(position), 0) FROM entries"
            ).fetchone()
            sealed = sealed_heads(connection)
        finally:
            connection.close()
    except (sqlite3.Error, ValueError) as error:  # ValueError: damage even in what SQLite says of it
        raise RecordError(f"{path} cannot be read: {error}", hint="restore from an export") from error
    starts = range(first, last + 1, CHUNK_POSITIONS)
    spans = [(start, min(start + CHUNK_POSITIONS, last + 1)) for start in starts]
    check = partial(
        check_span, path, writers, {(head.writer, head.seq): head.link for head in wanted.values()}
    )
    parallel = jobs > 1 and last - first >= INLINE_MAX
    parts = _in_processes(check, spans, jobs) if parallel else map(check, spans)
    return _join(_with_progress(parts, spans, progress), sealed, wanted)


def sealed_heads(connection: sqlite3.Connection) -> dict[str, Head]:
    """Return where each writer's chain was cut by retention, from the last sealed segment."""
    row = connection.execute("SELECT heads FROM segments ORDER BY number DESC LIMIT 1").fetchone()
    heads = [] if row is None else orjson.loads(row[0])
    return {writer: Head(writer, seq, bytes.fromhex(text), 0) for writer, seq, text in heads}


def check_span(
    path: Path,
    writers: Mapping[int, str],
    anchored: Mapping[tuple[str, int], bytes],
    span: tuple[int, int],
) -> Part:
    """Check the entries from `span[0]` up to but not `span[1]`, each against the one before it here."""
    part = Part()
    sql = (
        f"SELECT position, {', '.join(COLUMNS)} FROM entries NOT INDEXED "  # noqa: S608 - constants
        "WHERE position >= ? AND position < ? ORDER BY position"
    )
    position = span[0] - 1
    connection = _open(path)
    try:
        for row in connection.execute(sql, span):
            position = row[0]
            writer = writers.get(row[1])
            if writer is None:
                part.faults.append(
                    Fault(position, f"number {row[1]}", row[2], row[5], "its writer is not known")
                )
                continue
            part.records += 1
            _check_row(part, row, writer, anchored)
    except (sqlite3.Error, ValueError) as error:
        part.faults.append(Fault(position + 1, "unknown", -1, "", f"the file is damaged here: {error}"))
    finally:
        connection.close()
    return part


def _check_row(
    part: Part, row: tuple[Any, ...], writer: str, anchored: Mapping[tuple[str, int], bytes]
) -> None:
    position, _, seq, stored_link, *columns = row
    entry_id, body = str(columns[1]), columns[-1]
    try:
        entry_header = header_of(columns)
        contradiction = _contradiction(columns)
    except (ValueError, TypeError) as error:
        part.faults.append(Fault(position, writer, seq, entry_id, f"changed: {error}"))
        part.lasts[writer] = (position, seq, stored_link)
        part.firsts.setdefault(writer, (position, seq, entry_id, stored_link, b"", b""))
        return
    before = part.lasts.get(writer)
    if before is None:
        part.firsts[writer] = (position, seq, entry_id, stored_link, entry_header, body)
    else:
        what = _misfit(before[1], before[2], seq, stored_link, entry_header, body)
        if what:
            part.faults.append(Fault(position, writer, seq, entry_id, what))
    if contradiction is not None:
        part.faults.append(
            Fault(position, writer, seq, entry_id, f"column and body disagree: {contradiction}")
        )
    if anchored.get((writer, seq), stored_link) != stored_link:
        part.faults.append(Fault(position, writer, seq, entry_id, "not the record that was anchored"))
    part.lasts[writer] = (position, seq, stored_link)


def _contradiction(columns: Sequence[Any]) -> str | None:
    """Return the column that contradicts the body, where there is one."""
    if columns[0] == "decision" and plainly_agrees(columns[17], *columns[1:3], *columns[4:8], *columns[9:11]):
        return None
    return disagreement(entry_of(columns))


def _misfit(before_seq: int, before: bytes, seq: int, stored: bytes, entry_header: bytes, body: bytes) -> str:
    """Say what is wrong between an entry and the one before it, or nothing."""
    if seq > before_seq + 1:
        return f"sequence {before_seq + 1} is missing before it"
    if seq <= before_seq:
        return f"out of order: it follows sequence {before_seq}"
    if link(before, entry_header, body) != stored:
        return "changed: its link does not fit what is stored"
    return ""


def _join(parts: Iterable[Part], sealed: Mapping[str, Head], anchors: Mapping[str, Head]) -> Report:
    """Fit the chunks together and hold the ends against the anchors."""
    records = 0
    faults: list[Fault] = []
    lasts = {writer: (0, head.seq, head.link) for writer, head in sealed.items()}
    for part in parts:
        records += part.records
        faults += part.faults
        for writer, (position, seq, entry_id, stored, entry_header, body) in part.firsts.items():
            _, before_seq, before = lasts.get(writer, (0, -1, genesis(writer)))
            what = _misfit(before_seq, before, seq, stored, entry_header, body) if entry_header else ""
            if what:
                faults.append(Fault(position, writer, seq, entry_id, what))
        lasts.update(part.lasts)
    for writer, head in anchors.items():
        position, seq, _ = lasts.get(writer, (0, -1, b""))
        if seq < head.seq:
            what = f"truncated: the chain ends at sequence {seq}, the anchor names {head.seq}"
            faults.append(Fault(position + 1, writer, seq + 1, "", what))
    heads = {writer: Head(writer, seq, end, 0) for writer, (_, seq, end) in lasts.items()}
    return Report(records, heads, tuple(sorted(faults)))


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
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection
