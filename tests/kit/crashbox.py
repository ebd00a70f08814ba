"""Kills a writing process at any instant and looks at what is left: the parts of a Jepsen test, in small.

The worker appends from several coroutines and, after each receipt, "forwards": it writes the decision's id
to a file, one write, which survives the kill. The nemesis is SIGKILL. The checker asks that every forwarded
id is in the database. A mutant worker forwards before its receipt; a harness that lets it pass is blunt.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from gateway.kernel.ids import IdSource
from gateway.kernel.types import NO_TENANT
from gateway.store.sqlite import open_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision, event

WORKERS = 16
BODY_BYTES = 1_000
EARLY_S = 0.002


@dataclass(slots=True)
class Tally:
    """What a run has shown so far."""

    kills: int = 0
    forwarded: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    caught_at: int | None = None
    """The kill after which the first loss was seen."""


class Crashbox:
    """Starts, kills and checks workers on one database. Deterministic in its choices but for the timing."""

    def __init__(self, directory: Path, *, early: bool = False, seed: int = 1) -> None:
        self.database = directory / "lumyn.db"
        self.tally = Tally()
        self._log = directory / "forwarded"
        self._log.touch()
        self._read_bytes = 0
        self._random = random.Random(seed)
        # One process has everything imported and forks the workers: a round costs 50 ms and not 500.
        mode = "early" if early else "late"
        self._nest = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.crashbox", self.database, self._log, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._nest.communicate(timeout=20)

    def kill_once(self) -> None:
        """One round: start a worker, let it forward, kill it, check."""
        assert self._nest.stdin is not None
        assert self._nest.stdout is not None
        size = self._log.stat().st_size
        self._nest.stdin.write("fork\n")
        self._nest.stdin.flush()
        worker = int(self._nest.stdout.readline())
        deadline_s = time.monotonic() + 20
        while self._log.stat().st_size == size and time.monotonic() < deadline_s:
            time.sleep(0.001)
        time.sleep(self._random.uniform(0, 0.04))
        os.kill(worker, signal.SIGKILL)
        assert self._nest.stdout.readline() == "-9\n", "the worker ended by itself"
        self.tally.kills += 1
        self._check()

    def _check(self) -> None:
        """Look for every id that was forwarded since the last check."""
        with self._log.open("rb") as log:
            log.seek(self._read_bytes)
            fresh = log.read().decode().split("\n")[:-1]
            self._read_bytes = log.tell()
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            for entry_id in fresh:
                if not connection.execute("SELECT 1 FROM entries WHERE entry_id = ?", (entry_id,)).fetchone():
                    self.tally.lost.add(entry_id)
        self.tally.forwarded.update(fresh)
        if self.tally.lost and self.tally.caught_at is None:
            self.tally.caught_at = self.tally.kills


def nest(database: Path, log: Path, *, early: bool) -> None:
    """For each line on stdin: fork a worker, say its pid, and say how it ended."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(_append_for_ever(database, log, early))
            os._exit(1)
        say(pid)
        _, status = os.waitpid(pid, 0)
        say(os.waitstatus_to_exitcode(status))


def say(number: int) -> None:
    """Tell the crashbox."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def _append_for_ever(database: Path, log: Path, early: bool) -> None:
    clock, randomness = SystemClock(), SystemRandomness()
    ids = IdSource(clock, randomness)
    forwarded = os.open(log, os.O_WRONLY | os.O_APPEND)
    store = await open_sqlite(database, clock=clock, randomness=randomness)
    await store.mark_unknown()

    async def work(worker: int) -> None:
        while True:
            entry = decision(worker, entry_id=ids.new(), size=BODY_BYTES)
            if early:
                os.write(forwarded, f"{entry.entry_id}\n".encode())
                # What is written but not flushed survives a kill: only the time before counts.
                await asyncio.sleep(EARLY_S)
            await store.submit((entry,))
            if early:
                continue
            os.write(forwarded, f"{entry.entry_id}\n".encode())
            await store.submit((event(worker, entry.entry_id, entry_id=ids.new(), tenant=NO_TENANT),))

    await asyncio.gather(*map(work, range(WORKERS)))


if __name__ == "__main__":
    nest(Path(sys.argv[1]), Path(sys.argv[2]), early=sys.argv[3] == "early")
