"""Runs the appender under strace, so that flushes fail or are slow as the kernel would have it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway.store.sqlite import open_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision
from tests.kit.mutants import command


@dataclass(frozen=True)
class Run:
    """How it ended: exit code, what the appender saw, and the trace of flushes."""

    code: int
    report: dict[str, Any]
    trace: str


def new_store(path: Path) -> Path:
    """Make a store with one decision."""

    async def make() -> None:
        async with await open_sqlite(path, clock=SystemClock(), randomness=SystemRandomness()) as store:
            await store.submit([decision(1, awaits_outcome=False)])

    asyncio.run(make())
    return path


def append(strace: str, database: Path, inject: str, *arguments: float, mutant: str | None = None) -> Run:
    """Run the appender; `arguments` are its seconds, and how many it submits at once where it is a flood."""
    trace = database.with_name("trace")
    done = subprocess.run(
        [
            *tracing(strace, inject, trace),
            *command(mutant, "tests.kit.appender"),
            *(database, database.with_name("forwarded"), *map(str, arguments)),
        ],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr.decode()
    return Run(done.returncode, orjson.loads(done.stdout.splitlines()[-1]), trace.read_text())


def tracing(strace: str, inject: str, trace: Path) -> tuple[str, ...]:
    """What stands before a command whose flushes are traced and tampered with; it keeps its own pid."""
    return (
        *(strace, "-D", "-f", "--seccomp-bpf", "-qq", "-o", str(trace)),
        *("-e", "trace=fdatasync,fsync", "-e", f"inject={inject}"),
    )


def flushed_after_failure(trace: str) -> list[str]:
    """The files whose flush failed more than once: the second may have said yes for pages that were gone."""
    failed = [line.split("(")[1].split(")")[0] for line in trace.splitlines() if "(INJECTED)" in line]
    assert 1 <= len(failed) <= 2, "flushes went on after one had failed"
    return [name for name in {*failed} if failed.count(name) > 1]


def forwarded_but_not_stored(database: Path) -> list[str]:
    """Ids that were forwarded and are not in the database as the next start sees it."""
    log = database.with_name("forwarded")
    ids = log.read_text().split() if log.exists() else []
    with contextlib.closing(sqlite3.connect(database)) as connection:
        stored = {row[0] for row in connection.execute("SELECT entry_id FROM entries")}
    return [entry_id for entry_id in ids if entry_id not in stored]
