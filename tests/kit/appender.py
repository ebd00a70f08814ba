"""A process that appends until the store fails, then says what it saw. Run under strace, or with limits.

    python -m tests.kit.appender DATABASE FORWARDED SECONDS [FLOOD]

With FLOOD it submits so many at once, waits for what becomes of them, and does so again. Exit codes: 0 time
is up, 2 the store would not open, 3 the store failed for good. The last line of its output is JSON:
acknowledged, refused, worst wait of a waiter after the first failure, the store's last word.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import orjson
import psutil

from gateway.kernel.errors import SetupError, StoreBusyError, StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EVERY_TENANT
from gateway.store.port import DecisionFilter
from gateway.store.sqlite import SqliteStore, open_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision

WORKERS = 32
BUSY_PAUSE_S = 0.01


class Appender:
    """Appends from several coroutines and keeps count."""

    def __init__(self, store: SqliteStore, forwarded: Path, until_s: float) -> None:
        self.store = store
        self.ids = IdSource(SystemClock(), SystemRandomness())
        self.forwarded = os.open(forwarded, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.until_s = until_s
        self.acknowledged = 0
        self.acknowledged_late = 0
        self.first_failure_s: float | None = None
        self.last_failure_s = 0.0
        self.fastest_s = float("inf")
        self.busy = 0
        self.growth_mib = 0.0

    async def work(self) -> None:
        """Append, forward, again; stop for good at the first refusal."""
        while time.monotonic() < self.until_s:
            entry = decision(1, entry_id=self.ids.new(), size=1_000, awaits_outcome=False)
            began_s = time.monotonic()
            try:
                await self.store.submit((entry,))
            except StoreBusyError:
                self.busy += 1
                await asyncio.sleep(BUSY_PAUSE_S)
                continue
            except StoreUnavailableError:
                self.last_failure_s = time.monotonic()
                self.first_failure_s = self.first_failure_s or self.last_failure_s
                return
            self.fastest_s = min(self.fastest_s, time.monotonic() - began_s)
            os.write(self.forwarded, f"{entry.entry_id}\n".encode())
            self.acknowledged += 1
            self.acknowledged_late += self.first_failure_s is not None

    async def flood(self, count: int) -> None:
        """Submit so many at once, and forward those that are acknowledged."""
        before_mib = resident_mib()
        waiting = {}
        for _ in range(count):
            entry = decision(1, entry_id=self.ids.new(), size=1_000, awaits_outcome=False)
            try:
                waiting[entry.entry_id] = self.store.submit((entry,))
            except StoreBusyError:
                self.busy += 1
        await asyncio.gather(*waiting.values())
        self.acknowledged += len(waiting)
        os.write(self.forwarded, "".join(f"{entry_id}\n" for entry_id in waiting).encode())
        waiting.clear()
        self.growth_mib = resident_mib() - before_mib

    def report(self, readable: bool) -> bytes:
        """What was seen, as one line."""
        return orjson.dumps({
            "acknowledged": self.acknowledged,
            "acknowledged_late": self.acknowledged_late,
            "failed": self.first_failure_s is not None,
            "spread_s": self.last_failure_s - (self.first_failure_s or self.last_failure_s),
            "ready": self.store.health().ready,
            "fatal": self.store.health().fatal,
            "reason": self.store.health().reason,
            "readable": readable,
            "fastest_s": self.fastest_s,
            "busy": self.busy,
            "growth_mib": self.growth_mib,
        })  # fmt: skip


def resident_mib() -> float:
    """What this process holds in memory."""
    return psutil.Process().memory_info().rss / 2**20


async def main(database: Path, forwarded: Path, seconds: float, flood: int = 0) -> int:
    """Run; return the exit code."""
    try:
        store = await open_sqlite(database, clock=SystemClock(), randomness=SystemRandomness())
    except SetupError as error:
        sys.stdout.write(f"{orjson.dumps({'setup': error.message}).decode()}\n")
        return 2
    appender = Appender(store, forwarded, time.monotonic() + seconds)
    for _ in range(2 if flood else 0):
        await appender.flood(flood)
    await asyncio.gather(*(appender.work() for _ in range(WORKERS)))
    page = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=1, cursor=None)
    report = appender.report(bool(page.decisions))
    fatal = store.health().fatal
    await store.close()
    sys.stdout.write(f"{report.decode()}\n")
    return 3 if fatal else 0


if __name__ == "__main__":
    places, numbers = map(Path, sys.argv[1:3]), map(int, sys.argv[4:])
    sys.exit(asyncio.run(main(*places, float(sys.argv[3]), *numbers)))
