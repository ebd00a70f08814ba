"""B4.7: another process holds SQLite's lock: waited for up to a bound, then refused, without a busy loop."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.kernel.errors import RecordError, StoreSetupError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.store import verify
from gateway.store.sqlite import BUSY_S, SqliteStore, open_sqlite
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision
from tests.kit.figures import note

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until its input ends, or its life."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


async def opened(path: Path, busy_s: float = BUSY_S) -> SqliteStore:
    return await open_sqlite(path, clock=SystemClock(), randomness=SystemRandomness(), busy_s=busy_s)


async def hold_and_let_go(path: Path, held_s: float, bound_s: float) -> None:
    """Lock a store that has a waiter; hold everything that is promised of it."""
    store = await opened(path, bound_s)
    await store.submit([decision(1)])
    with held(path) as holder:
        cpu_s, started_s = time.process_time(), time.monotonic()
        asyncio.get_running_loop().call_later(held_s, holder.kill)
        waiting = store.submit([decision(2)])
        if held_s < bound_s:
            assert (await waiting).last_seq == 1
        else:
            with pytest.raises(StoreUnavailableError, match="locked") as caught:
                await waiting
            refused_s = time.monotonic() - started_s
            assert bound_s <= refused_s < bound_s + 0.5
            assert "\n" not in caught.value.message
            assert caught.value.retry_after_s
            with pytest.raises(StoreUnavailableError):
                store.submit([decision(3)])
            assert not store.health().ready
            assert not store.health().fatal
            assert await store.decision(EVERY_TENANT, decision(1).entry_id) is not None, "reads go on"
            while not store.health().ready:
                assert time.monotonic() - started_s < held_s + bound_s + 2
                await asyncio.sleep(0.01)
            back_s = time.monotonic() - started_s - held_s
            assert (await store.submit([decision(2)])).last_seq == 1
            note(f"locked for {held_s:g} s: refused after {refused_s:.2f} s, ready {back_s:.2f} s after")
        cpu_s = time.process_time() - cpu_s
    assert cpu_s < 0.3 + 0.02 * held_s, "a busy loop"
    await store.close()
    assert verify_sqlite(path).faults == ()


@pytest.mark.parametrize("held_s", [0.1, 1.0])
async def test_a_lock_is_waited_for_up_to_the_bound(tmp_path: Path, held_s: float) -> None:
    """Held for less than the bound: it waits; for longer: refused, idle, and recovered by itself after."""
    await hold_and_let_go(tmp_path / "lumyn.db", held_s, bound_s=0.5)


@pytest.mark.long
@pytest.mark.parametrize("held_s", [5.0, 30.0])
async def test_a_lock_is_waited_for_up_to_the_real_bound(tmp_path: Path, held_s: float) -> None:
    """The nightly figure of the same, with the bound that gateways have."""
    await hold_and_let_go(tmp_path / "lumyn.db", held_s, bound_s=BUSY_S)


async def test_a_locked_store_is_not_opened_in_one_line(tmp_path: Path) -> None:
    """Who starts while another holds the lock waits to the bound, and is told who is in the way."""
    path = tmp_path / "lumyn.db"
    await (await opened(path)).close()
    with held(path):
        started_s = time.monotonic()
        with pytest.raises(StoreSetupError, match="locked") as caught:
            await opened(path, 0.2)
        assert 0.2 <= time.monotonic() - started_s < 1.5
        assert "\n" not in caught.value.message
        assert "another process holds a lock" in str(caught.value.hint)
        assert verify_sqlite(path).faults == (), "reading needs no lock"
    await (await opened(path, 0.2)).close()


def test_a_file_that_cannot_even_be_read_says_who_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another has to itself is no damaged one: nobody is told to restore it."""
    path = tmp_path / "lumyn.db"
    asyncio.run(close_after(path))
    monkeypatch.setattr(verify, "STORE_COMMIT_S", 0.1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RecordError, match="locked") as caught:
            verify_sqlite(path)
    assert "another process holds a lock" in str(caught.value.hint)


async def close_after(path: Path) -> None:
    await (await opened(path)).close()
