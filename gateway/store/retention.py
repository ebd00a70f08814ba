"""Retention: what is old enough is exported, the export is verified, and only then an explicit call drops it.

The oldest stretch of the store, up to the first entry that is not older than an instant, is cut into
segments. What is still bound stays where it is: memory items, policies, decisions that await an outcome,
decisions whose idempotency key is still in its time to live, and the events of those decisions. A segment
row says how each chain goes on (see `segments`), so that the store verifies from the cut as it did before.
A drop is itself a control record, committed before the first entry goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, Protocol, TypeAlias

import orjson

from gateway.kernel.bounds import IDEMPOTENCY_TTL_S
from gateway.kernel.clock import rfc3339
from gateway.kernel.errors import RecordError
from gateway.records.chain import genesis
from gateway.records.types import ControlEntry
from gateway.store.anchor import Head
from gateway.store.archive import archive_line
from gateway.store.port import Store
from gateway.store.rows import COLUMNS
from gateway.store.segments import Cuts, Kept, Run, segment_text

SEGMENT_ENTRIES: Final = 5_000
"""Entries of one segment, which goes in one transaction: a live gateway waits 65 to 80 ms for it (seen)."""

Row: TypeAlias = Sequence[Any]
"""`position`, then `COLUMNS` with the writer's id in the place of its number."""

_KIND: Final = 1 + COLUMNS.index("kind")
_ID: Final = 1 + COLUMNS.index("entry_id")
_DECISION: Final = 1 + COLUMNS.index("decision_id")


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch that is ready to be sealed and dropped."""

    number: int
    last_position: int
    text: str
    """What its row says of the chains: see `segments`."""
    digest: str
    """`sha256:` of its lines in the export."""
    lines: int
    dropped: tuple[tuple[int, int], ...]
    """Runs of positions that go, both ends included."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written to a file and may now be dropped."""

    before_ms: int
    records: int
    dropped: int
    segments: tuple[Segment, ...]

    @property
    def kept(self) -> int:
        """Entries that are in the export and stay in the store."""
        return self.records - self.dropped


class Vault(Protocol):
    """A database as retention needs it. Raises `StoreUnavailableError`."""

    async def end(self, before_ms: int) -> int:
        """Return the position up to which every entry is older; none will ever be added below it."""
        ...

    async def cuts(self) -> tuple[int, Cuts]:
        """Return the number of the last segment (0 where there is none), and all segments together."""
        ...

    async def bound(self, up_to: int, keyed_since_ms: int) -> frozenset[str]:
        """Return the decisions that await an outcome or hold a key since `keyed_since_ms`."""
        ...

    def rows(self, up_to: int) -> AsyncIterator[Row]:
        """Yield entries in the order of their position, up to `up_to`."""
        ...

    async def drop(self, segment: Segment, now_ms: int) -> None:
        """Seal a segment and drop what goes, in one transaction.

        Raises `RecordError` where another drop has taken its number.
        """
        ...

    async def close(self) -> None:
        """Give up the connection."""
        ...


async def export_before(vault: Vault, before_ms: int, now_ms: int, out: BinaryIO) -> Export:
    """Write all entries older than `before_ms` to `out`, a line each; drop nothing.

    Raises `RecordError` where the chain is broken: what does not verify is never dropped.
    """
    end = await vault.end(before_ms)
    number, cuts = await vault.cuts()
    bound = await vault.bound(end, now_ms - int(IDEMPOTENCY_TTL_S * 1000))
    builder = _Builder(cuts, bound)
    segments: list[Segment] = []
    records = dropped = 0
    async for row in vault.rows(end):
        out.write(builder.take(row))
        if builder.lines == SEGMENT_ENTRIES:
            number += 1
            dropped += builder.dropped
            segments.append(builder.seal(number, row[0]))
        records += 1
    if builder.lines:
        dropped += builder.dropped
        segments.append(builder.seal(number + 1, end))
    return Export(before_ms, records, dropped, tuple(segments) if dropped else ())


async def drop(vault: Vault, store: Store, export: Export, *, entry_id: str, now_ms: int) -> None:
    """Drop what was exported, segment by segment, after a control record that says so is durable.

    A drop that was interrupted leaves a store that verifies; the next one takes what it left. Raises
    `StoreUnavailableError` and `RecordError`.
    """
    if not export.segments:
        return
    body = {
        "at": rfc3339(now_ms),
        "data": {
            "before": rfc3339(export.before_ms),
            "dropped": export.dropped,
            "kept": export.kept,
            "last_position": export.segments[-1].last_position,
            "segments": [segment.digest for segment in export.segments],
        },
        "type": "retention",
    }
    encoded = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    await store.submit((ControlEntry(entry_id, now_ms, "retention", encoded),))
    for segment in export.segments:
        await vault.drop(segment, now_ms)


@dataclass(slots=True)
class _Builder:
    """Gathers one segment after the other; the ends of the chains live on from one to the next."""

    cuts: Cuts
    bound: frozenset[str]
    lines: int = 0
    dropped: int = 0
    _ends: dict[str, Head] = field(default_factory=dict)
    _here: set[str] = field(default_factory=set)
    _kept: list[Kept] = field(default_factory=list)
    _runs: dict[str, int] = field(default_factory=dict)
    """Of each writer, the place in `_kept` of the run that its last entry belongs to."""
    _released: list[Run] = field(default_factory=list)
    _positions: list[tuple[int, int]] = field(default_factory=list)
    _open: bool = False
    """Whether the last entry goes, so that the next one may belong to the same run of positions."""
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, row: Row) -> bytes:
        """Take an entry, and return its line."""
        position, writer, seq, link = row[:4]
        before = self._before(writer, seq)
        if before is None:
            raise RecordError(
                f"record {row[_ID]} (writer {writer}, sequence {seq}) follows nothing that is known",
                hint="run `lumyn verify`: nothing was dropped",
            )
        stays = self._stays(row)
        if stays:
            self._keep(writer, seq, before)
        else:
            self._let_go(position, writer, seq)
        self._ends[writer] = Head(writer, seq, link, 0)
        self._here.add(writer)
        self.lines += 1
        line = archive_line(row, before, kept=stays)
        self._digest.update(line)
        return line

    def seal(self, number: int, last_position: int) -> Segment:
        """Return the segment that ends here, and begin the next one."""
        heads = [self._ends[writer] for writer in sorted(self._here)]
        text = segment_text(heads, self._kept, self._released)
        digest = f"sha256:{self._digest.hexdigest()}"
        segment = Segment(number, last_position, text, digest, self.lines, tuple(self._positions))
        self.lines = self.dropped = 0
        self._here, self._kept, self._runs, self._released, self._positions = set(), [], {}, [], []
        self._open, self._digest = False, hashlib.sha256()
        return segment

    def _stays(self, row: Row) -> bool:
        kind = row[_KIND]
        if kind in {"memory", "policy"}:
            return True
        return (row[_DECISION] if kind == "event" else row[_ID]) in self.bound

    def _keep(self, writer: str, seq: int, before: bytes) -> None:
        self._open = False
        at = self._runs.get(writer)
        if at is not None and self._kept[at][2] == seq - 1:
            _, first, _, start = self._kept[at]
            self._kept[at] = (writer, first, seq, start)
        else:
            self._runs[writer] = len(self._kept)
            self._kept.append((writer, seq, seq, before))

    def _let_go(self, position: int, writer: str, seq: int) -> None:
        self.dropped += 1
        if self._open:
            self._positions[-1] = (self._positions[-1][0], position)
        else:
            self._positions.append((position, position))
        self._open = True
        if (writer, seq) in self.cuts.kept:
            self._released.append((writer, seq, seq))

    def _before(self, writer: str, seq: int) -> bytes | None:
        last = self._ends.get(writer)
        if last is not None and last.seq == seq - 1:
            return last.link
        head = self.cuts.heads.get(writer)
        if head is not None and head.seq == seq - 1:
            return head.link
        return genesis(writer) if seq == 0 else self.cuts.before.get((writer, seq))
