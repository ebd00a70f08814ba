"""A clock that jumps changes no order, loses nothing and breaks no chain."""

from __future__ import annotations

import pytest

from gateway.kernel.types import EVERY_TENANT
from gateway.store.open import open_store
from gateway.store.port import DecisionFilter
from tests.contract.store.test_retention import verified
from tests.kit.entries import START_MS, CountedRandomness, StillClock, decision

HOUR_MS = 3_600_000
JUMPS_MS = (HOUR_MS, -HOUR_MS, -24 * HOUR_MS, -START_MS, 0, 24 * HOUR_MS)
"""To each side by an hour and a day, back to 1970, and to where it was."""


@pytest.mark.parametrize("jump_ms", JUMPS_MS)
async def test_the_ledger_goes_on_whatever_the_clock_says(url: str, jump_ms: int) -> None:
    """Sequences run on, listings are by recorded time, and a later start marks what was left open."""
    clock = StillClock()
    store = await open_store(url, clock=clock, randomness=CountedRandomness())
    first = await store.submit([decision(1, at_ms=clock.wall_ms())])
    clock.now_ms += jump_ms
    second = await store.submit([decision(2, at_ms=clock.wall_ms())])
    assert (first.last_seq, second.first_seq) == (0, 1)
    newest_first = [2, 1] if jump_ms >= 0 else [1, 2]
    page = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=9, cursor=None)
    assert [entry.entry_id for entry in page.decisions] == [decision(n).entry_id for n in newest_first]
    await store.close()
    clock.now_ms = START_MS
    other = await open_store(url, clock=clock, randomness=CountedRandomness(5))
    assert await other.mark_unknown() == 2
    await other.close()
    report = await verified(url)
    assert report.faults == ()
    assert report.records == 4
