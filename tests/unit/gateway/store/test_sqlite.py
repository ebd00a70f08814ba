"""What only the SQLite driver promises: its settings, one hop a batch, a bounded WAL, its anchor."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path

import aiosqlite
import pytest

from gateway.kernel.errors import StoreSetupError
from gateway.store.anchor import Head, anchor_path, read_anchors
from gateway.store.open import open_store, sqlite_path
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite_driver import run
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision


async def test_the_door_to_the_thread_is_where_it_was(tmp_path: Path) -> None:
    """`_execute(function, *args)` runs any function on the connection's thread; `_conn` is the connection."""
    assert list(inspect.signature(aiosqlite.Connection._execute).parameters)[:2] == ["self", "fn"]
    async with aiosqlite.connect(tmp_path / "x.db") as connection:
        assert await run(connection, lambda plain, x: plain.execute("SELECT ?", (x,)).fetchone(), 7) == (7,)


def test_a_process_that_does_not_close_its_store_still_ends(tmp_path: Path) -> None:
    """An exception past an open store ends the process at once, with what was acknowledged kept."""
    command = [sys.executable, "-c", DIES, tmp_path / "a.db"]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert b"KeyError" in done.stderr
    assert verify_sqlite(tmp_path / "a.db").records == 1


DIES = """
import asyncio, sys
from gateway.store.sqlite import open_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision
async def main():
    store = await open_sqlite(sys.argv[1], clock=SystemClock(), randomness=SystemRandomness())
    await store.submit([decision(1)])
    raise KeyError("surprise")
asyncio.run(main())
"""


async def test_the_settings_that_durability_rests_on(tmp_path: Path) -> None:
    """WAL and synchronous=FULL on the writing connection; readers cannot write."""
    store = await open_sqlite(tmp_path / "a.db", clock=SystemClock(), randomness=SystemRandomness())
    writing = store._driver._writing
    pragmas = {
        name: await run(writing, _pragma, name)
        for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
    }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
    reader = store._free._queue[0]  # type: ignore[attr-defined]
    assert await run(reader, _pragma, "query_only") == 1
    await store.close()


def _pragma(connection: object, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]  # type: ignore[attr-defined]


async def test_the_wal_stays_small(tmp_path: Path) -> None:
    """Under a long load the WAL is emptied again and again, and what it held is in the database."""
    store = await open_sqlite(tmp_path / "a.db", clock=SystemClock(), randomness=SystemRandomness())
    wal = (tmp_path / "a.db-wal").stat
    written = biggest = 0
    for start in range(0, 30_000, 300):
        entries = [decision(n, size=2_000, awaits_outcome=False) for n in range(start, start + 300)]
        await asyncio.gather(*(store.submit([entry]) for entry in entries))
        written += sum(len(entry.body) for entry in entries)
        biggest = max(biggest, wal().st_size)
    await store.close()
    assert biggest < 40 * 2**20 < written
    assert not (tmp_path / "a.db-wal").exists()


async def test_heads_are_anchored_and_told(tmp_path: Path) -> None:
    """Closing anchors the last entry; the hook is told the same head; a torn line is passed over."""
    told: list[Head] = []
    path = tmp_path / "a.db"
    store = await open_sqlite(path, clock=SystemClock(), randomness=SystemRandomness(), on_head=told.append)
    await store.submit([decision(n) for n in range(5)])
    writer = store.writer
    await store.close()
    assert told[-1].seq == 4
    assert read_anchors(anchor_path(path)) == {writer: told[-1]}
    with anchor_path(path).open("a") as file:
        file.write("99 abc")
    assert read_anchors(anchor_path(path)) == {writer: told[-1]}


async def test_a_store_leaves_no_mark_of_life_behind(tmp_path: Path) -> None:
    """After closing, nothing says that the writer lives."""
    store = await open_sqlite(tmp_path / "a.db", clock=SystemClock(), randomness=SystemRandomness())
    assert len(list((tmp_path / "a.db-writers").iterdir())) == 1
    await store.close()
    assert list((tmp_path / "a.db-writers").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:a.db", "a.db"),
        ("sqlite:.lumyn/a.db", ".lumyn/a.db"),
        ("sqlite:/x/a.db", "/x/a.db"),
        ("sqlite:///x/a.db", "/x/a.db"),
        ("sqlite://x/a.db", "/x/a.db"),
    ],
)
def test_urls(url: str, path: str) -> None:
    """Every accepted spelling names the file it says."""
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite:///", "sqlite:/x/", "sqlite::memory:", "sqlite:a?mode=ro"]
)
def test_urls_that_name_no_file(url: str) -> None:
    """A URL without a file is refused."""
    with pytest.raises(StoreSetupError):
        sqlite_path(url)


@pytest.mark.parametrize("url", ["", "a.db", "mysql://x", "SQLITE:a", "postgresql://nobody@127.0.0.1:1/x"])
async def test_urls_of_no_store(url: str) -> None:
    """A scheme that is not known, or a server that is not there, is one clear line."""
    with pytest.raises(StoreSetupError) as caught:
        await open_store(url, clock=SystemClock(), randomness=SystemRandomness())
    assert caught.value.hint
    assert "\n" not in caught.value.message
