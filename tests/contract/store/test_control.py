"""Control records are read back in the order in which one controller made them, page by page."""

from __future__ import annotations

import pytest

from gateway.kernel.types import EVERY_TENANT
from gateway.store.open import open_store
from gateway.store.port import CONTROL_RECORDS_MAX, ControlFilter, ControlRecord, Store
from gateway.system import SystemClock
from tests.kit.entries import START_MS, CountedRandomness, control, decision


async def read_all(store: Store, wanted: ControlFilter, limit: int) -> list[ControlRecord]:
    """Read page by page to the end."""
    found: list[ControlRecord] = []
    while page := await store.control(
        EVERY_TENANT, wanted, after=found[-1].position if found else 0, limit=limit
    ):
        assert len(page) <= limit
        found += page
    return found


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_hold_each_record_once_in_order(store: Store, limit: int) -> None:
    """Whatever the size of a page, all come, along the chain, with their place in it, and nothing else."""
    entries = [control(n, "epoch" if n % 4 == 0 else "tick") for n in range(10)]
    for number, entry in enumerate(entries):
        await store.submit([entry, decision(number)])
    found = await read_all(store, ControlFilter(), limit)
    assert [record.entry for record in found] == entries
    assert [record.seq for record in found] == list(range(0, 20, 2))
    proof = await store.proof(entries[7].entry_id)
    assert proof is not None
    assert (found[7].writer, found[7].seq) == (proof.writer, proof.seq)


async def test_a_clock_that_jumps_back_does_not_reorder(store: Store) -> None:
    """The order is that of the ledger, whatever the clock said."""
    entries = [control(n) for n in (5, 3, 9, 1)]
    for entry in entries:
        await store.submit([entry])
    assert [record.entry for record in await read_all(store, ControlFilter(), 2)] == entries


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (ControlFilter(control_type="epoch"), [0, 4, 8]),
        (ControlFilter(control_type="nothing"), []),
        (ControlFilter(since_ms=START_MS + 3, until_ms=START_MS + 5), [3, 4]),
        (ControlFilter(control_type="epoch", since_ms=START_MS + 1), [4, 8]),
        (ControlFilter(writer="01K742SG000000000004000001"), []),
        (ControlFilter(control_type="a' OR 1=1 --"), []),
    ],
)
async def test_a_filter_narrows(store: Store, wanted: ControlFilter, numbers: list[int]) -> None:
    """By type, by time (the end is exclusive), by writer, and by all together."""
    entries = [control(n, "epoch" if n % 4 == 0 else "tick") for n in range(10)]
    await store.submit(entries)
    assert [record.entry for record in await read_all(store, wanted, 2)] == [entries[n] for n in numbers]


async def test_one_writer_is_read_apart_from_another(store: Store, url: str) -> None:
    """Two processes beside each other have two chains; a filter by writer gives the one asked for."""
    other = await open_store(url, clock=SystemClock(), randomness=CountedRandomness(7))
    for number in range(3):
        await store.submit([control(2 * number)])
        receipt = await other.submit([control(2 * number + 1)])
    await other.close()
    theirs = await read_all(store, ControlFilter(writer=receipt.writer), 2)
    assert [(record.seq, record.entry) for record in theirs] == [(n, control(2 * n + 1)) for n in range(3)]
    assert {record.writer for record in theirs} == {receipt.writer}
    assert len(await read_all(store, ControlFilter(), 100)) == 6


async def test_a_page_is_bounded(store: Store) -> None:
    """Whoever asks for everything at once gets the bound; who asks for none gets one."""
    await store.submit([control(n) for n in range(CONTROL_RECORDS_MAX + 1)])
    for limit, count in ((10**9, CONTROL_RECORDS_MAX), (0, 1), (-1, 1)):
        assert len(await store.control(EVERY_TENANT, ControlFilter(), after=0, limit=limit)) == count
