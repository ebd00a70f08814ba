"""A page under a filter examines a bounded number of decisions, and following the cursors misses none."""

from __future__ import annotations

import random

import pytest

from gateway.kernel.types import EVERY_TENANT, Scope, Tenant
from gateway.store import postgres_read, sqlite_read
from gateway.store.export import walk
from gateway.store.port import DecisionFilter, Store
from tests.kit.entries import decision

ACME = Tenant("acme")
RARE = DecisionFilter(verdict="QUERY")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a page examine five."""
    for module in (sqlite_read, postgres_read):
        monkeypatch.setattr(module, "EXAMINED_MAX", 5)
    return 5


@pytest.mark.parametrize("scope", [ACME, EVERY_TENANT])
async def test_a_page_that_finds_nothing_says_where_to_go_on(store: Store, few: int, scope: Scope) -> None:
    """Twenty decisions that do not fit, then one that does: empty pages with cursors, then the one."""
    await store.submit([decision(0, tenant=ACME, verdict="QUERY")])
    await store.submit([decision(n, tenant=ACME) for n in range(1, 21)])
    cursor, pages = None, []
    while True:
        page = await store.decisions(scope, RARE, limit=3, cursor=cursor)
        pages.append(len(page.decisions))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [0] * (20 // few) + [1]
    unnarrowed = await store.decisions(scope, DecisionFilter(), limit=20, cursor=None)
    assert len(unnarrowed.decisions) == 20, "a page without a filter passes nothing by"


@pytest.mark.parametrize("seed", range(4))
async def test_a_walk_finds_all_that_fits_once(store: Store, few: int, seed: int) -> None:
    """Whatever lies within one millisecond, however long the pages: what fits, newest first, and no more."""
    del few
    noise = random.Random(seed)
    verdicts = ("TRUST", "TRUST", "TRUST", "QUERY")
    entries = [
        decision(n, tenant=ACME, at_ms=1_000 + n // noise.randrange(1, 9), verdict=noise.choice(verdicts))
        for n in range(60)
    ]
    await store.submit(entries)
    placed = sorted(enumerate(entries), key=lambda one: (one[1].at_ms, one[0]), reverse=True)
    for wanted in (RARE, DecisionFilter(verdict="QUERY", since_ms=1_003, until_ms=1_012)):
        lowest, end = wanted.since_ms or 0, wanted.until_ms or 1 << 50
        fits = [e for _, e in placed if e.verdict == "QUERY" and lowest <= e.at_ms < end]
        for page_max in (1, 4, 100):
            found = [entry async for entry in walk(store, ACME, wanted, page_max=page_max)]
            assert found == fits
