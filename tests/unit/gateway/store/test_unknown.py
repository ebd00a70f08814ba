"""What a dead process left open gets one outcome that says so, and never a second."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from gateway.kernel.errors import ConflictError, StoreUnavailableError
from gateway.kernel.ids import is_ulid
from gateway.kernel.types import Tenant
from gateway.records.types import EventEntry
from gateway.store.port import Receipt
from gateway.store.unknown import SWEEP_ENTRIES, sweep, unknown_outcome
from tests.kit.entries import decision


def test_the_outcome_says_unknown_and_has_an_id_of_its_decision() -> None:
    """Whenever it is made its id is the same, so that the database refuses a second; another's differs."""
    one = unknown_outcome(decision(1, tenant=Tenant("acme")), 1_760_000_000_000)
    assert is_ulid(one.entry_id)
    assert (
        one.entry_id == unknown_outcome(decision(1), 5).entry_id != unknown_outcome(decision(2), 5).entry_id
    )
    body = orjson.loads(one.body)
    assert (one.event_type, one.decision_id, one.tenant) == ("outcome", decision(1).entry_id, Tenant("acme"))
    assert (body["type"], body["data"]["fate"], body["event_id"]) == ("outcome", "unknown", one.entry_id)
    assert (body["at"], body["decision_id"]) == ("2025-10-09T08:53:20Z", one.decision_id)


@pytest.mark.parametrize("at_ms", [-5, 1 << 50])
def test_a_decision_of_an_odd_time_gets_one_too(at_ms: int) -> None:
    """A time that no ULID can hold does not keep a start from sweeping."""
    assert is_ulid(unknown_outcome(decision(1, at_ms=at_ms), 5).entry_id)


async def test_a_sweep_reads_on_until_nothing_is_left() -> None:
    """Each decision is marked once, in portions; what another start has marked is not counted."""
    left = [(place, decision(place)) for place in range(1, 500)]
    marked: list[EventEntry] = []
    sizes: list[int] = []

    async def left_open(after: int, limit: int):
        found = [pair for pair in left if pair[0] > after][:limit]
        sizes.append(len(found))
        return found

    async def submit(entries):
        if entries[0].decision_id == decision(7).entry_id:
            raise ConflictError("stored already")
        marked.extend(entries)
        return Receipt("W", 0, 0)

    assert await sweep(left_open, 3, submit, 5) == 495
    assert [event.decision_id for event in marked] == [
        d.entry_id for place, d in left if place > 3 and place != 7
    ]
    assert sizes == [SWEEP_ENTRIES, SWEEP_ENTRIES, 96, 0]


async def test_a_store_that_fails_fails_the_sweep() -> None:
    """Nothing is taken for marked that was not stored."""

    async def left_open(after: int, limit: int):
        del limit
        return [(1, decision(1))] if after == 0 else []

    async def submit(entries):
        del entries
        await asyncio.sleep(0)
        raise StoreUnavailableError("gone")

    with pytest.raises(StoreUnavailableError):
        await sweep(left_open, 0, submit, 5)
