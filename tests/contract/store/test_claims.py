"""What every store promises of claims: carried out with the entries or not at all, whoever asks first."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.errors import ClaimTakenError
from gateway.kernel.types import EVERY_TENANT, NO_TENANT, Tenant
from gateway.store.claims import ClaimFilter, ClaimStep
from gateway.store.open import open_store
from gateway.store.port import Store
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import START_MS, claim, decision, entry_id

ACME = Tenant("acme")


async def test_a_claim_is_stored_with_its_decision(store: Store) -> None:
    """Once the receipt is there both can be read back, in their own tenant only."""
    made = claim("a", 1, tenant=ACME, body=b"\x00result")
    await store.submit((decision(1, tenant=ACME),), steps=(ClaimStep(made),))
    assert await store.claim(ACME, "test", "a") == made
    assert await store.claim(NO_TENANT, "test", "a") is None
    assert await store.claim(ACME, "other", "a") is None


async def test_who_is_refused_stores_nothing(store: Store) -> None:
    """A step that does not fit takes its entries with it, and leaves the others of the batch alone."""
    await store.submit((decision(1),), steps=(ClaimStep(claim("a", 1)),))
    refused = store.submit((decision(2),), steps=(ClaimStep(claim("b", 2)), ClaimStep(claim("a", 2))))
    beside = store.submit((decision(3),))
    with pytest.raises(ClaimTakenError) as caught:
        await refused
    assert (caught.value.state, caught.value.decision_id) == ("open", entry_id(1))
    await beside
    assert await store.decision(EVERY_TENANT, entry_id(2)) is None
    assert await store.claim(NO_TENANT, "test", "b") is None
    assert await store.decision(EVERY_TENANT, entry_id(3)) is not None


async def test_of_many_at_once_one_is_first(store: Store) -> None:
    """Of twenty that claim one name in the same moment exactly one is stored."""
    tries = [store.submit((decision(n),), steps=(ClaimStep(claim("a", n)),)) for n in range(20)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert all(isinstance(outcome, ClaimTakenError) for outcome in outcomes if isinstance(outcome, Exception))
    held = await store.claim(NO_TENANT, "test", "a")
    assert held is not None
    assert await store.decision(EVERY_TENANT, held.decision_id) is not None


async def test_two_processes_cannot_both_claim(store: Store, url: str) -> None:
    """Two stores on one database, each with a group at the same time: one is refused, every time."""
    other = await open_store(url, clock=SystemClock(), randomness=SystemRandomness())
    try:
        for number in range(0, 40, 2):
            name = f"n{number}"
            tries = [
                one.submit((decision(n),), steps=(ClaimStep(claim(name, n)),))
                for one, n in ((store, number), (other, number + 1))
            ]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(isinstance(outcome, ClaimTakenError) for outcome in outcomes) == 1
            found = [await store.decision(EVERY_TENANT, entry_id(n)) for n in (number, number + 1)]
            assert sum(kept is not None for kept in found) == 1
    finally:
        await other.close()


async def test_a_claim_is_followed_once(store: Store) -> None:
    """What was seen is followed by one, not by a second that saw the same."""
    first = claim("a", 1)
    await store.submit((decision(1),), steps=(ClaimStep(first),))
    await store.submit((decision(2),), steps=(ClaimStep(claim("a", 2, state="done"), over=first),))
    with pytest.raises(ClaimTakenError):
        await store.submit((decision(3),), steps=(ClaimStep(claim("a", 3, state="done"), over=first),))
    held = await store.claim(NO_TENANT, "test", "a")
    assert held == claim("a", 2, state="done")
    await store.submit((), steps=(ClaimStep(held, over=held, removes=True),))
    assert await store.claim(NO_TENANT, "test", "a") is None


async def test_claims_are_listed_newest_first(store: Store) -> None:
    """A listing is narrowed by tenant, state, owner and expiry, and goes on by its cursor."""
    made = [
        claim("a", 1),
        claim("b", 2, state="done"),
        claim("c", 3, tenant=ACME, owner="ann"),
        claim("d", 4, expires_ms=START_MS + 5),
        claim("e", 5, space="other"),
    ]
    await store.submit((decision(1),), steps=[ClaimStep(one) for one in made])

    async def names(scope=EVERY_TENANT, cursor=None, limit=9, **wanted) -> list[str]:
        page = await store.claims(scope, "test", ClaimFilter(**wanted), limit=limit, cursor=cursor)
        return [*(one.name for one in page.claims), *([] if page.next_cursor is None else ["..."])]

    assert await names() == ["d", "c", "b", "a"]
    assert await names(ACME) == ["c"]
    assert await names(NO_TENANT) == ["d", "b", "a"]
    assert await names(states=("done",)) == ["b"]
    assert await names(owner="ann") == ["c"]
    assert await names(alive_ms=START_MS + 5) == ["c", "b", "a"]
    assert await names(expired_ms=START_MS + 5) == ["d"]
    assert await names(limit=2) == ["d", "c", "..."]
    assert await names(limit=2, cursor=entry_id(3)) == ["b", "a"]
