"""The checks behind `lumyn verify`, for any database: rows in, faults out.

Each entry's link is computed anew from the stored bytes and columns and from the link before it; sequences
must run on without a gap; columns must agree with bodies; every head that was anchored outside must be
reached; what retention kept must be there still. Nothing here may talk to a database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gateway.kernel.errors import RecordError
from gateway.records.agree import disagreement, plainly_agrees
from gateway.records.chain import genesis, link
from gateway.store.anchor import Head
from gateway.store.rows import entry_of, header_of
from gateway.store.segments import Cuts

Progress: TypeAlias = Callable[[int, int], None]
"""Called with entries checked so far, and all of them."""
Anchored: TypeAlias = Mapping[tuple[str, int], bytes]
"""Links that are known from outside, by writer and sequence."""


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

    def reached(self, before: int) -> int:
        """Return the position of the last row that was looked at, or `before` where none was."""
        lasts = (position for position, _, _ in self.lasts.values())
        return max((before, *lasts, *(fault.position for fault in self.faults)))


def check_rows(
    part: Part, rows: Iterable[Sequence[Any]], writers: Mapping[int, str], anchored: Anchored
) -> None:
    """Check rows of `position` and `COLUMNS`, each against the one before it."""
    for row in rows:
        writer = writers.get(row[1])
        if writer is None:
            fault = Fault(row[0], f"number {row[1]}", row[2], row[5], "its writer is not known")
            part.faults.append(fault)
            continue
        part.records += 1
        _check(part, row, writer, anchored)


def check_sealed(
    rows: Iterable[Sequence[Any]], writers: Mapping[int, str], anchored: Anchored, cuts: Cuts
) -> Part:
    """Check what retention kept: each entry against the one before it, or the link that was noted for it."""
    part = Part()
    awaited = set(cuts.kept)
    for row in rows:
        position, number, seq = row[:3]
        writer = writers.get(number, f"number {number}")
        before = cuts.before.get((writer, seq), genesis(writer))
        last = part.lasts.get(writer)
        if last is None or last[1] != seq - 1:
            part.lasts[writer] = (position, seq - 1, before)
        check_rows(part, (row,), writers, anchored)
        if (writer, seq) not in awaited:
            what = "retention did not keep it, or it is here twice"
            part.faults.append(Fault(position, writer, seq, str(row[5]), what))
        awaited.discard((writer, seq))
    for writer, seq in awaited:
        part.faults.append(Fault(0, writer, seq, "", "missing, and retention had kept it"))
    return part


def _check(part: Part, row: Sequence[Any], writer: str, anchored: Mapping[tuple[str, int], bytes]) -> None:
    position, seq, stored_link, columns = row[0], row[2], row[3], row[4:]
    entry_id, body = str(columns[1]), columns[17]
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
    elif what := _misfit(before[1], before[2], seq, stored_link, entry_header, body):
        part.faults.append(Fault(position, writer, seq, entry_id, what))
    if contradiction is not None:
        part.faults.append(
            Fault(position, writer, seq, entry_id, f"column and body disagree: {contradiction}")
        )
    if anchored and anchored.get((writer, seq), stored_link) != stored_link:
        part.faults.append(Fault(position, writer, seq, entry_id, "not the record that was anchored"))
    part.lasts[writer] = (position, seq, stored_link)


def _contradiction(columns: Sequence[Any]) -> str | None:
    """Return the column that contradicts the body, where there is one."""
    if columns[0] == "decision":
        _, entry_id, tenant, _, action_type, verdict, codes, policy_hash, _, correlation_id, key, *_ = columns
        body = columns[17]
        if plainly_agrees(
            body, entry_id, tenant, action_type, verdict, codes, policy_hash, correlation_id, key
        ):
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


def join(
    kept: Part, parts: Iterable[Part], sealed: Mapping[str, Head], anchors: Mapping[str, Head]
) -> Report:
    """Fit what retention kept and the chunks after it together; hold the ends against the anchors."""
    records = kept.records
    faults = list(kept.faults)
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
