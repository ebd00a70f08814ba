"""B4.4 and B4.9: a flush that fails, and flushes that are slow, made by strace under a real process."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.store.sqlite import open_sqlite
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision
from tests.kit.figures import note


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A store with one decision."""
    path = tmp_path / "lumyn.db"

    async def make() -> None:
        async with await open_sqlite(path, clock=SystemClock(), randomness=SystemRandomness()) as store:
            await store.submit([decision(1, awaits_outcome=False)])

    asyncio.run(make())
    return path


def append(strace: str, database: Path, inject: str, seconds: float) -> tuple[int, dict[str, Any], str]:
    """Run the appender under strace; return its exit code, its report and the trace of flushes."""
    trace = database.with_name("trace")
    done = subprocess.run(
        [
            *(strace, "-f", "-qq", "-o", trace, "-e", "trace=fdatasync,fsync", "-e", f"inject={inject}"),
            *(sys.executable, "-m", "tests.kit.appender", database),
            *(database.with_name("forwarded"), str(seconds)),
        ],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr.decode()
    report: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])
    return done.returncode, report, trace.read_text()


def forwarded_but_not_stored(database: Path) -> list[str]:
    """Ids that were forwarded and are not in the database as the next start sees it."""
    log = database.with_name("forwarded")
    ids = log.read_text().split() if log.exists() else []
    with contextlib.closing(sqlite3.connect(database)) as connection:
        stored = {row[0] for row in connection.execute("SELECT entry_id FROM entries")}
    return [entry_id for entry_id in ids if entry_id not in stored]


def check_failed_flush(strace: str, database: Path, number: int) -> int:
    code, report, trace = append(strace, database, f"fdatasync:error=EIO:when={number}+", seconds=5)
    failed = [line.split("(")[1].split(")")[0] for line in trace.splitlines() if "(INJECTED)" in line]
    # SQLite itself pays no heed to a failed flush of the directory; the next one is of another file.
    assert 1 <= len(failed) <= 2, "flushes went on after one had failed"
    assert len(set(failed)) == len(failed), "the same file was flushed again after its flush had failed"
    assert code in (2, 3), report
    if code == 3:
        assert report["failed"]
        assert report["fatal"]
        assert not report["ready"]
        assert report["acknowledged_late"] == 0
        assert report["spread_s"] <= 1.0
        assert report["readable"]
    assert forwarded_but_not_stored(database) == []
    assert verify_sqlite(database).faults == ()
    return int(report.get("acknowledged", 0))


@pytest.mark.parametrize("number", [1, 2, 3, 5, 20])
def test_a_failed_flush_ends_it(strace: str, database: Path, number: int) -> None:
    """All waiters fail within a second, nothing is acknowledged later, no file is flushed twice."""
    acknowledged = check_failed_flush(strace, database, number)
    note(f"failed flush, call {number}: {acknowledged} acknowledged before, 0 after, 0 lost, no second flush")


@pytest.mark.long
@pytest.mark.parametrize("number", range(1, 61))
def test_a_failed_flush_ends_it_at_every_call(strace: str, database: Path, number: int) -> None:
    """The nightly figure of the same: every call from the first to the sixtieth."""
    check_failed_flush(strace, database, number)


@pytest.mark.parametrize("delay_ms", [10, 50])
def test_a_slow_disk_only_slows(strace: str, database: Path, delay_ms: int) -> None:
    """At d seconds a flush, 32 workers still get 32 / 3d acknowledged a second: commits are shared."""
    check_slow_disk(strace, database, delay_ms, seconds=2.0)


@pytest.mark.long
@pytest.mark.parametrize("delay_ms", [1, 10, 50, 200])
def test_a_slow_disk_only_slows_for_longer(strace: str, database: Path, delay_ms: int) -> None:
    """The nightly figure of the same."""
    check_slow_disk(strace, database, delay_ms, seconds=5.0)


def check_slow_disk(strace: str, database: Path, delay_ms: int, seconds: float) -> None:
    inject = f"fdatasync:delay_enter={delay_ms * 1000}"
    code, report, _ = append(strace, database, inject, seconds)
    per_second = report["acknowledged"] / seconds
    note(f"slow disk, {delay_ms} ms a flush: {per_second:,.0f} acknowledged a second by 32 workers")
    assert code == 0
    assert not report["failed"]
    assert per_second >= 32 / (3 * delay_ms / 1000)
    assert forwarded_but_not_stored(database) == []
