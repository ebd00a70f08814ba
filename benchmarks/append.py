"""How fast, and at what cost in CPU, the store makes records durable.

    python benchmarks/append.py [sqlite:PATH | postgresql://...] [--appends N] [--records N]

Prints one line a measure: appends of 1.5 kB records by 64 workers, by one, and at a fixed pace (what the
gateway asks of its core), then with --records a listing and `verify` on a store of that size.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

from gateway.kernel.ids import IdSource
from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.records.types import DecisionEntry
from gateway.store.open import open_store
from gateway.store.port import DecisionFilter, Store
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness

BODY_BYTES = 1_500
POLICY_HASH = "sha256:" + "a" * 64
_HEAD = (
    '{"decision_id":"%s","policy":{"policy_hash":"'
    + POLICY_HASH
    + '"},"reason_codes":["LLM_OK"],"request":{"action":{"intent":"chat","type":"llm.chat_completion"},'
    '"subject":{"id":"bot","tenant_id":"%s","type":"service"}},"trace":{"correlation_id":"%s"},'
    '"verdict":"%s","extensions":{"padding":"'
)
RECORD = _HEAD + "x" * (BODY_BYTES - len(_HEAD) - 70) + '"}}'


@dataclass(slots=True)
class Source:
    """Makes decisions like those of the gateway: a record of 1.5 kB and its columns."""

    ids: IdSource = field(default_factory=lambda: IdSource(SystemClock(), SystemRandomness()))
    tenants: tuple[Tenant, ...] = tuple(Tenant(f"tenant-{n}") for n in range(10))
    count: int = 0

    def next(self) -> DecisionEntry:
        """Return a decision that is not stored yet."""
        self.count += 1
        entry_id, request_id = self.ids.new(), os.urandom(16).hex()
        tenant = self.tenants[self.count % 10]
        verdict = "TRUST" if self.count % 100 else "ESCALATE"
        body = RECORD % (entry_id, tenant.tenant_id, request_id, verdict)
        return DecisionEntry(
            entry_id=entry_id,
            tenant=tenant,
            at_ms=time.time_ns() // 1_000_000,
            action_type="llm.chat_completion",
            verdict=verdict,
            reason_codes=("LLM_OK",),
            policy_hash=POLICY_HASH,
            model="llama-70b",
            correlation_id=request_id,
            request_key=None,
            request_digest=None,
            awaits_outcome=True,
            body=body.encode(),
        )


@dataclass(slots=True)
class Measure:
    """Latencies and CPU of one run."""

    name: str
    latencies_s: list[float] = field(default_factory=list)
    started_s: float = field(default_factory=time.perf_counter)
    started_cpu_s: float = field(default_factory=time.process_time)

    def show(self) -> None:
        """Print the line."""
        wall_s = time.perf_counter() - self.started_s
        cpu_s = time.process_time() - self.started_cpu_s
        sorted_s = sorted(self.latencies_s)
        count = len(sorted_s)
        p50, p99 = sorted_s[count // 2], sorted_s[int(count * 0.99)]
        print(
            f"{self.name:<34} {count / wall_s:>9,.0f} appends/s   p50 {p50 * 1e3:6.2f} ms   "
            f"p99 {p99 * 1e3:6.2f} ms   max {sorted_s[-1] * 1e3:7.2f} ms   "
            f"cpu {cpu_s / count * 1e6:5.1f} us/append"
        )


async def closed_loop(store: Store, workers: int, appends: int) -> None:
    """Each worker appends, waits for the receipt, and appends again."""
    source = Source()
    measure = Measure(f"{workers} workers, one after another")

    async def work() -> None:
        for _ in range(appends // workers):
            entry = source.next()
            started_s = time.perf_counter()
            await store.submit((entry,))
            measure.latencies_s.append(time.perf_counter() - started_s)

    await asyncio.gather(*(work() for _ in range(workers)))
    measure.show()


async def at_pace(store: Store, per_second: int, seconds: float) -> None:
    """Appends arrive on a schedule, whatever the store does."""
    source = Source()
    measure = Measure(f"{per_second:,} a second, on schedule")
    loop = asyncio.get_running_loop()
    waiting: set[asyncio.Future[object]] = set()
    count = int(per_second * seconds)
    begin_s = loop.time()

    def landed(future: asyncio.Future[object], started_s: float) -> None:
        waiting.discard(future)
        measure.latencies_s.append(loop.time() - started_s)

    for number in range(count):
        due_s = begin_s + number / per_second
        while loop.time() < due_s:
            await asyncio.sleep(max(0.0002, due_s - loop.time()))
        future: asyncio.Future[object] = store.submit((source.next(),))  # type: ignore[assignment]
        waiting.add(future)
        future.add_done_callback(lambda done, due_s=due_s: landed(done, due_s))
    while waiting:
        await asyncio.sleep(0.001)
    measure.show()


async def listing(store: Store) -> None:
    """Pages of 50 from the top, from the middle and under filters."""
    middle = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=1, cursor=None)
    cases = {
        "page, every tenant": (EVERY_TENANT, DecisionFilter()),
        "page, one tenant": (Tenant("tenant-3"), DecisionFilter()),
        "page, one verdict in a hundred": (EVERY_TENANT, DecisionFilter(verdict="ESCALATE")),
        "page, by request id (last)": (
            EVERY_TENANT,
            DecisionFilter(correlation_id=middle.decisions[0].correlation_id),
        ),
        "page, filter that finds nothing": (EVERY_TENANT, DecisionFilter(model="none")),
    }
    for name, (scope, wanted) in cases.items():
        times = []
        for _ in range(20):
            started_s = time.perf_counter()
            await store.decisions(scope, wanted, limit=50, cursor=None)
            times.append(time.perf_counter() - started_s)
        print(f"{name:<34} p50 {sorted(times)[10] * 1e3:8.2f} ms   max {max(times) * 1e3:8.2f} ms")


async def run(arguments: argparse.Namespace) -> None:
    """Run every measure on a fresh store."""
    with tempfile.TemporaryDirectory(dir=arguments.dir) as directory:
        url = arguments.url or f"sqlite:{directory}/append.db"
        store = await open_store(url, clock=SystemClock(), randomness=SystemRandomness())
        try:
            await closed_loop(store, 1, arguments.appends // 10)
            await closed_loop(store, 8, arguments.appends // 2)
            await closed_loop(store, 64, arguments.appends)
            for pace in arguments.pace:
                await at_pace(store, pace, 3.0)
            if arguments.records:
                await closed_loop(store, 256, max(0, arguments.records - store.health().committed))
                print(f"{store.health().committed:,} records, {rss_mib():.0f} MiB resident")
                await listing(store)
        finally:
            await store.close()
        if arguments.records and url.startswith("sqlite:"):
            for jobs in (1, 2):
                verifying(Path(url.removeprefix("sqlite:")), jobs)


def verifying(path: Path, jobs: int) -> None:
    """Verify the whole store."""
    started_s = time.perf_counter()
    report = verify_sqlite(path, jobs=jobs)
    wall_s = time.perf_counter() - started_s
    print(f"verify, {jobs} processes: {report.records / wall_s:,.0f} records/s, {len(report.faults)} faults")


def rss_mib() -> float:
    """Return what this process holds in memory."""
    return psutil.Process().memory_info().rss / 2**20


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--appends", type=int, default=50_000)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--pace", type=int, nargs="*", default=[1_000, 4_000, 10_000])
    parser.add_argument("--dir", default=None)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
