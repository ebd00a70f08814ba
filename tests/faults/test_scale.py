"""The measures of the store, at their full size: a million records. Nightly; the figures are printed."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.append import Source
from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.store.port import DecisionFilter
from gateway.store.sqlite import SqliteStore, open_sqlite
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.figures import note

WORKERS = 64
WARM = 100_000
"""Appends after which memory may grow no more: caches are filled, statements prepared."""
GROWTH_MIB_MAX = 16.0
WAL_MIB_MAX = 48.0
PAGE_S_MAX = 0.02


def resident_mib() -> float:
    """What this process holds in memory."""
    return psutil.Process().memory_info().rss / 2**20


async def append(store: SqliteStore, records: int) -> list[float]:
    """Append by all workers at once; return how long each append took."""
    source, took_s = Source(), []

    async def work() -> None:
        for _ in range(records // WORKERS):
            entry = source.next()
            began_s = time.perf_counter()
            await store.submit((entry,))
            took_s.append(time.perf_counter() - began_s)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return took_s


async def page_s(store: SqliteStore, scope: object, wanted: DecisionFilter) -> float:
    """How long a page of fifty takes, in the middle of twenty tries."""
    took_s = []
    for _ in range(20):
        began_s = time.perf_counter()
        await store.decisions(scope, wanted, limit=50, cursor=None)  # type: ignore[arg-type]
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_million_records(tmp_path: Path) -> None:
    """Memory and WAL stay flat, every page comes at once, and the whole ledger verifies on both cores."""
    path = tmp_path / "lumyn.db"
    store = await open_sqlite(path, clock=SystemClock(), randomness=SystemRandomness())
    await append(store, WARM)
    warm_mib, began_s = resident_mib(), time.perf_counter()
    took_s: list[float] = []
    for _ in range(9):
        part = await append(store, WARM)
        took_s = part  # The last stretch: the indexes are at their deepest.
        assert path.with_name("lumyn.db-wal").stat().st_size < WAL_MIB_MAX * 2**20
    rate = 9 * WARM / (time.perf_counter() - began_s)
    p50_s, p99_s = statistics.median(took_s), sorted(took_s)[int(len(took_s) * 0.99)]
    growth_mib = resident_mib() - warm_mib
    note(
        f"a million appends: {rate:,.0f}/s by {WORKERS} workers, p50 {p50_s * 1e3:.1f} ms, "
        f"p99 {p99_s * 1e3:.1f} ms, {growth_mib:+.1f} MiB of memory"
    )
    assert growth_mib < GROWTH_MIB_MAX
    for name, scope, wanted in (
        ("every tenant", EVERY_TENANT, DecisionFilter()),
        ("one tenant", Tenant("tenant-3"), DecisionFilter()),
        ("one verdict in a hundred", EVERY_TENANT, DecisionFilter(verdict="ESCALATE")),
        ("a filter that nothing fits", EVERY_TENANT, DecisionFilter(model="none")),
    ):
        took = await page_s(store, scope, wanted)
        note(f"a page of 50 at a million records, {name}: {took * 1e3:.1f} ms")
        assert took < PAGE_S_MAX
    await store.close()
    for jobs in (1, 2):
        began_s = time.perf_counter()
        report = verify_sqlite(path, jobs=jobs)
        note(f"verify, {jobs} processes: {report.records / (time.perf_counter() - began_s):,.0f} records/s")
        assert report.faults == ()
        assert report.records == 10 * (WARM // WORKERS * WORKERS)
