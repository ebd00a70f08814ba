"""Which entries stay and how segments are cut, on rows in memory; tests/contract/store holds both drivers."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.bounds import IDEMPOTENCY_TTL_S
from gateway.kernel.errors import RecordError
from gateway.store import retention
from gateway.store.audit import check_sealed
from gateway.store.ledger import Ledger
from gateway.store.retention import Export, Row, Segment, drop, export_before
from gateway.store.rows import seal
from gateway.store.segments import Cuts, read_cuts
from tests.kit.entries import control, decision, event, memory_item, policy

NO_CUTS = Cuts(0, {}, {}, frozenset())
WRITERS = {1: "V", 2: "W"}


def rows_of(kinds: list[int]) -> list[Row]:
    """Rows of two writers that take turns, of the kinds that numbers name."""
    ledgers, rows = [Ledger("V", 1, 0), Ledger("W", 2, 0)], []
    make = (decision, memory_item, control, policy, lambda n: event(n, decision(0).entry_id))
    for position, kind in enumerate(kinds, 1):
        ledger = ledgers[position % 2]
        _, [row] = ledger.bind([[seal(make[kind](position))]])
        ledger.advance([row], position)
        rows.append((position, *row))
    return rows


class Memory:
    """A vault in memory."""

    def __init__(self, rows: list[Row], bound: frozenset[str] = frozenset(), cuts: Cuts = NO_CUTS) -> None:
        self.table, self.held, self.known = rows, bound, cuts
        self.asked: tuple[int, int] = (0, 0)
        self.sealed: list[Segment] = []

    async def end(self, before_ms: int) -> int:
        del before_ms
        return len(self.table)

    async def cuts(self) -> tuple[int, Cuts]:
        return 4, self.known

    async def bound(self, up_to: int, keyed_since_ms: int) -> frozenset[str]:
        self.asked = (up_to, keyed_since_ms)
        return self.held

    async def rows(self, up_to: int) -> AsyncIterator[Row]:
        del up_to
        for row in self.table:
            yield (row[0], WRITERS[row[1]], *row[2:])

    async def drop(self, segment: Segment, now_ms: int) -> None:
        del now_ms
        self.sealed.append(segment)

    async def close(self) -> None:
        pass


@given(st.lists(st.integers(0, 4), max_size=24), st.integers(1, 9))
async def test_what_is_left_verifies_wherever_it_is_cut(kinds: list[int], size: int) -> None:
    """For any mix and any size of segment, what stays is what must, and it verifies by the segments."""
    rows = rows_of(kinds)
    vault = Memory(rows, bound=frozenset({decision(3).entry_id}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "SEGMENT_ENTRIES", size)
        found = await export_before(vault, 0, 0, io.BytesIO())
    gone = {p for s in found.segments for first, last in s.dropped for p in range(first, last + 1)}
    left = [row for row in rows if row[0] not in gone]
    bound = [kind in {1, 3} or (kind == 0 and at == 3) for at, kind in enumerate(kinds, 1)]
    if not found.segments:
        assert all(bound)
        return
    assert [row[0] for row in left] == [at for at, stays in enumerate(bound, 1) if stays]
    assert (found.records, found.kept) == (len(rows), len(left))
    cuts = read_cuts((segment.last_position, segment.text) for segment in found.segments)
    assert cuts.last_position == len(rows)
    assert check_sealed(left, WRITERS, {}, cuts).faults == []
    ends = {WRITERS[row[1]]: (row[2], row[3]) for row in rows}
    assert {writer: (head.seq, head.link) for writer, head in cuts.heads.items()} == ends


async def test_keys_are_asked_for_since_their_time_to_live() -> None:
    """The vault is asked for keys that are not older than the time to live, up to the end of the stretch."""
    vault = Memory(rows_of([0, 0]))
    now_ms = 10**13
    await export_before(vault, 0, now_ms, io.BytesIO())
    assert vault.asked == (2, now_ms - int(IDEMPOTENCY_TTL_S * 1000))


async def test_events_go_with_their_decision() -> None:
    """The event of a decision that stays stays; numbers of segments go on from the last one."""
    vault = Memory(rows_of([4, 0]), bound=frozenset({decision(0).entry_id}))
    found = await export_before(vault, 0, 0, io.BytesIO())
    assert [(segment.number, segment.dropped) for segment in found.segments] == [(5, ((2, 2),))]


async def test_a_row_that_follows_nothing_stops_the_export() -> None:
    """Where a chain has a hole nothing may be dropped."""
    rows = rows_of([0] * 6)
    with pytest.raises(RecordError, match="follows nothing"):
        await export_before(Memory([*rows[:2], *rows[4:]]), 0, 0, io.BytesIO())


async def test_a_drop_is_recorded_before_anything_goes() -> None:
    """The control record is durable first and says what goes; without segments nothing is said or done."""
    vault = Memory(rows_of([0, 1, 0]))
    found = await export_before(vault, 5_000, 0, io.BytesIO())
    stored: list[object] = []

    class Submits:
        async def submit(self, entries):
            assert vault.sealed == []
            stored.extend(entries)

    await drop(vault, Submits(), Export(0, 0, 0, ()), entry_id="C", now_ms=9)  # type: ignore[arg-type]
    assert stored == []
    await drop(vault, Submits(), found, entry_id="C", now_ms=9)  # type: ignore[arg-type]
    assert tuple(vault.sealed) == found.segments
    [note] = stored
    data = orjson.loads(note.body)["data"]
    assert (note.control_type, data["dropped"], data["kept"], data["last_position"]) == ("retention", 2, 1, 3)
    assert data["segments"] == [segment.digest for segment in found.segments]
