"""How long a program waits for `decide()`: durable, on an empty store and on a full one.

    python -m benchmarks.library [--decisions N] [--items N] [--calls N] [--directory PATH]

The full store holds decisions and labelled outcomes of the very tenant and action type that is asked
about. Both stores are asked in turn, call by call, so that other work on the machine hits both alike.
Beside them stands one flush of 4 kB to the same disk: what no durable call can be quicker than.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.embed.desk import Desk
from gateway.kernel.clock import rfc3339
from gateway.kernel.ids import IdSource
from gateway.kernel.types import Tenant
from gateway.memory.features import Features
from gateway.memory.items import MemoryItem, encode
from gateway.pipeline.journal import decision_entry
from gateway.records.types import MemoryEntry
from gateway.system import SystemClock, SystemRandomness
from lumyn import LumynConfig, decide

GROUP = 200
TENANT = "acme"
ACTION = "support.refund"


def request(number: int) -> dict[str, Any]:
    """Return refund `number`: like the others, and not the same."""
    return {
        "schema_version": "decision_request.v0",
        "subject": {"type": "agent", "id": "bench", "tenant_id": TENANT},
        "action": {
            "type": ACTION,
            "intent": f"refund order {number}",
            "amount": {"value": 5 + number % 300, "currency": "USD"},
            "tags": [f"reason_{number % 7}", f"channel_{number % 3}"],
        },
        "evidence": {
            "ticket_id": f"t-{number}",
            "order_id": f"o-{number}",
            "customer_id": f"c-{number}",
            "payment_instrument_risk": "low",
            "chargeback_risk": 0.05,
            "previous_refund_count_90d": 0,
            "customer_age_days": 400,
        },
        "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
    }


async def fill(config: LumynConfig, decisions: int, items: int) -> None:
    """Put decisions and memory items into a store, in large groups."""
    from gateway.engine.decide import EngineSettings, Stamp
    from gateway.engine.decide import decide as decide_pure
    from gateway.memory.types import NO_ADVICE

    clock, randomness = SystemClock(), SystemRandomness()
    ids = IdSource(clock, randomness)
    desk = Desk(config.url, clock, randomness)
    store, policies = await desk.store(), desk.policies(config)
    tenant = Tenant(TENANT)
    for start in range(0, decisions, GROUP):
        entries = []
        for number in range(start, min(start + GROUP, decisions)):
            stamp = Stamp(ids.new(), clock.wall_ms())
            settings = EngineSettings()
            made = decide_pure(
                request(number), policies=policies, advice=NO_ADVICE, settings=settings, stamp=stamp
            )
            entries.append(decision_entry(made, tenant=tenant, at_ms=stamp.at_ms, awaits_outcome=False))
        await store.submit(entries)
    for start in range(0, items, GROUP):
        await store.submit([memory(number, ids, clock) for number in range(start, min(start + GROUP, items))])
    await desk.close()


def memory(number: int, ids: IdSource, clock: SystemClock) -> MemoryEntry:
    """Return labelled outcome `number`: thousands of different token sets, as life gives them."""
    at_ms, label = clock.wall_ms(), ("failure", "success", "near_miss")[number % 3]
    tags = (f"reason_{number % 11}", f"channel_{number % 5}", f"sku_{number % 997}")
    bucket = ("small", "medium", "large")[number % 3]
    item = MemoryItem(
        ids.new(), TENANT, rfc3339(at_ms), label, Features(ACTION, "USD", bucket, tags), f"outcome {number}"
    )
    return MemoryEntry(item.memory_id, Tenant(TENANT), at_ms, ACTION, label, encode(item))


def measure(configs: dict[str, LumynConfig], calls: int, flush_path: Path) -> dict[str, list[float]]:
    """Return the milliseconds of each call, and of a flush before each pair of them."""
    spans: dict[str, list[float]] = {name: [] for name in ("flush of 4 kB", *configs)}
    descriptor = os.open(flush_path, os.O_WRONLY | os.O_CREAT)
    for number in range(-100, calls):
        started = time.perf_counter()
        os.write(descriptor, b"x" * 4096)
        os.fdatasync(descriptor)
        found = {"flush of 4 kB": time.perf_counter() - started}
        for name, config in configs.items():
            asked = request(1_000_000 + number)
            started = time.perf_counter()
            decide(asked, config=config)
            found[name] = time.perf_counter() - started
        if number >= 0:
            for name, span in found.items():
                spans[name].append(span * 1e3)
    os.close(descriptor)
    return spans


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--directory", help="where the stores lie; else a temporary directory")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        root = Path(directory)
        configs = {
            name: LumynConfig(store_path=root / file)
            for name, file in (("decide, empty store", "empty.db"), ("decide, full store", "full.db"))
        }
        started = time.perf_counter()
        asyncio.run(fill(configs["decide, full store"], given.decisions, given.items))
        filled_s = time.perf_counter() - started
        print(f"{given.decisions} decisions and {given.items} items stored in {filled_s:.1f} s")
        for name, spans in measure(configs, given.calls, root / "flush").items():
            cuts = statistics.quantiles(spans, n=100)
            print(f"{name:20} p50 {cuts[49]:6.3f} ms   p95 {cuts[94]:6.3f} ms   p99 {cuts[98]:6.3f} ms")


if __name__ == "__main__":
    main()
