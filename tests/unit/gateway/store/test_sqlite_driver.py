"""The hop to the thread, the chores and the moves out of the WAL."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import aiosqlite
import pytest

from gateway.store import sqlite_driver as module
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite_driver import SETTLE_ROUNDS, hold_open, run
from gateway.store.writer import CommitError
from tests.kit.entries import CountedRandomness, StillClock, decision


async def test_a_function_runs_on_the_threads_own_connection(tmp_path: Path) -> None:
    """Arguments go with it, its result and its error come back, and the loop's thread is not used."""
    async with aiosqlite.connect(tmp_path / "a.db") as connection:
        seen = await run(connection, lambda plain, *, x: (type(plain), threading.get_ident(), x), x=7)
        assert (seen[0], seen[2]) == (sqlite3.Connection, 7)
        assert seen[1] != threading.get_ident()
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await run(connection, lambda plain: plain.execute("SELECT * FROM missing"))


async def test_chores_store_the_watermark_every_so_often(tmp_path: Path) -> None:
    """The anchor is written each round, the watermark in every tenth and at last."""
    store = await open_sqlite(tmp_path / "a.db", clock=StillClock(), randomness=CountedRandomness())
    await store.submit([decision(1, awaits_outcome=False)])
    driver, plain = store._driver, sqlite3.connect(tmp_path / "a.db")
    sql = "SELECT count(*) FROM settled WHERE writer > 0"
    for _ in range(SETTLE_ROUNDS - 1 - driver._rounds):
        await driver.chores(last=False)
    assert plain.execute(sql).fetchone() == (0,)
    await driver.chores(last=False)
    assert plain.execute(sql).fetchone() == (1,)
    plain.close()
    await store.close()


async def test_an_anchor_that_cannot_be_written_is_a_fault_that_may_pass(tmp_path: Path) -> None:
    """Chores say so, without ending the writing for good."""
    store = await open_sqlite(tmp_path / "a.db", clock=StillClock(), randomness=CountedRandomness())
    await store.submit([decision(1, awaits_outcome=False)])
    anchor = store._driver._anchor
    descriptor, anchor._descriptor = anchor._descriptor, 10**6
    with pytest.raises(CommitError, match="anchor") as caught:
        await store._driver.chores(last=False)
    assert not caught.value.fatal
    anchor._descriptor = descriptor
    await store.close()


@pytest.mark.parametrize(("name", "fatal"), [("SQLITE_IOERR_FSYNC", True), ("SQLITE_BUSY", False)])
async def test_a_move_that_failed_to_flush_fails_the_next_batch(
    tmp_path: Path, name: str, fatal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed flush beside the writer nothing more is acknowledged; a locked file is no matter."""

    def failing(_: sqlite3.Connection) -> tuple[int, int]:
        error = sqlite3.OperationalError("words")
        error.sqlite_errorname = name  # type: ignore[misc]
        raise error

    store = await open_sqlite(tmp_path / "a.db", clock=StillClock(), randomness=CountedRandomness())
    monkeypatch.setattr(module, "checkpoint", failing)
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 1)
    await store.submit([decision(1)])
    move = store._driver._move
    assert move is not None
    await asyncio.wait([move])
    outcome = (await asyncio.gather(store.submit([decision(2)]), return_exceptions=True))[0]
    assert isinstance(outcome, Exception) is fatal
    assert store.health().fatal is fatal
    monkeypatch.undo()
    await store.close()


@pytest.mark.parametrize(("frames", "passes"), [(10, 1), (100, 2), (101, 2)])
async def test_what_the_writer_has_to_move_is_made_little_first(
    tmp_path: Path, frames: int, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the WAL is at its bound a second pass goes beside the writer, before it has to wait itself."""
    beside: list[int] = []
    monkeypatch.setattr(module, "checkpoint", lambda _: beside.append(frames) or (frames, frames))
    monkeypatch.setattr(module, "CHECKPOINT_BYTES", 1)
    monkeypatch.setattr(module, "CHECKPOINT_PAGES", 100)
    store = await open_sqlite(tmp_path / "a.db", clock=StillClock(), randomness=CountedRandomness())
    await store.submit([decision(1)])
    move = store._driver._move
    assert move is not None
    assert await move == frames
    assert len(beside) == passes
    await store.close()


async def test_a_file_that_is_held_open_keeps_its_wal(tmp_path: Path) -> None:
    """With one more connection open, closing the others moves and flushes nothing."""
    path = tmp_path / "a.db"
    store = await open_sqlite(path, clock=StillClock(), randomness=CountedRandomness())
    await store.submit([decision(1)])
    hold_open(path)
    await store.close()
    assert (tmp_path / "a.db-wal").stat().st_size > 0
    hold_open(tmp_path)  # a directory cannot be read: that is no error
