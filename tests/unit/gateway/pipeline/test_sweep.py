"""Expired claims go, living ones stay, and a store that is down is only told of once."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from gateway.kernel.types import EVERY_TENANT
from gateway.pipeline import sweep as module
from gateway.pipeline.sweep import Sweeper, Swept
from gateway.store.claims import ClaimFilter, ClaimStep
from gateway.store.sqlite import SqliteStore, open_sqlite
from gateway.telemetry.log import LOG
from tests.kit.entries import START_MS, CountedRandomness, StillClock, claim


async def _nothing() -> None:
    """Nobody counts."""


async def names(store: SqliteStore, space: str) -> list[str]:
    """The claims that are left."""
    page = await store.claims(EVERY_TENANT, space, ClaimFilter(), limit=500, cursor=None)
    return sorted(one.name for one in page.claims)


async def test_what_has_expired_goes(tmp_path: Path) -> None:
    """Each space after its own time; more than one commit's worth too."""
    clock = StillClock()
    async with await open_sqlite(tmp_path / "a.db", clock=clock, randomness=CountedRandomness()) as store:
        old = [claim(f"old-{n}", n, expires_ms=START_MS - 1) for n in range(250)]
        kept = claim("kept", 300, space="slow", expires_ms=START_MS - 1)
        gone = claim("gone", 301, space="slow", expires_ms=START_MS - 100)
        for one in (*old, claim("new", 302), kept, gone):
            await store.submit((), steps=(ClaimStep(one),))
        sweeper = Sweeper(store, clock, (Swept("test", 0), Swept("slow", 100)), after=_nothing)
        assert await sweeper.sweep() == 251
        assert (await names(store, "test"), await names(store, "slow")) == (["new"], ["kept"])
        assert await sweeper.sweep() == 0


async def test_it_goes_on_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After each round what is left is counted; a store that is closed is logged once, not each time."""
    monkeypatch.setattr(module, "SWEEP_S", 0.001)
    monkeypatch.setattr(LOG, "propagate", True)
    counted = asyncio.Event()

    async def count() -> None:
        counted.set()

    store = await open_sqlite(tmp_path / "a.db", clock=StillClock(), randomness=CountedRandomness())
    sweeper = Sweeper(store, StillClock(), (Swept("test", 0),), after=count)
    running = asyncio.ensure_future(sweeper.run())  # noqa: TID251
    async with asyncio.timeout(5):
        await counted.wait()
    await store.close()
    await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert [record.getMessage() for record in caplog.records] == ["claims cannot be swept"]
