"""B4.3: power loss. The tail of the WAL that was not flushed is cut off or scribbled over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.store.sqlite import open_sqlite
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock
from tests.kit.entries import CountedRandomness, decision
from tests.kit.figures import note

COMMITS = 60


class Snapshot:
    """A store's files as they were on disk, and how long the WAL was at each receipt."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "before.db"
        self.wal = b""
        self.flushed: list[tuple[int, list[str]]] = []


async def record(directory: Path) -> Snapshot:
    """Append commit by commit, with nothing moved out of the WAL, and note its length at each receipt."""
    snapshot = Snapshot(directory)
    path = directory / "lumyn.db"
    store = await open_sqlite(path, clock=SystemClock(), randomness=CountedRandomness())
    acknowledged: list[str] = []
    wal = path.with_name("lumyn.db-wal")
    for number in range(COMMITS):
        entries = [decision(number * 4 + n, size=600, awaits_outcome=False) for n in range(1 + number % 4)]
        await store.submit(entries)
        acknowledged += [entry.entry_id for entry in entries]
        snapshot.flushed.append((wal.stat().st_size, list(acknowledged)))
    shutil.copyfile(path, snapshot.database)
    snapshot.wal = wal.read_bytes()
    await store.close()
    return snapshot


def crash(snapshot: Snapshot, directory: Path, rng: random.Random, lie_bytes: int = 0) -> list[str]:
    """Make the files that one power cut leaves; return what was acknowledged by then and is lost.

    All that was flushed is there; of the rest a random part, random bytes over some of it. `lie_bytes` are
    missing though they were said to be flushed: the mutant.
    """
    index = rng.randrange(COMMITS - 1)
    length, acknowledged = snapshot.flushed[index]
    tail = bytearray(snapshot.wal[length : length + rng.randrange(12_000)])
    if tail and rng.random() < 0.7:
        start = rng.randrange(len(tail))
        scribble = rng.randbytes(rng.randrange(1, 600))[: len(tail) - start]
        tail[start : start + len(scribble)] = scribble
    path = directory / "crashed.db"
    for name in ("crashed.db", "crashed.db-wal", "crashed.db-shm"):
        (directory / name).unlink(missing_ok=True)
    shutil.copyfile(snapshot.database, path)
    kept = snapshot.wal[: length - lie_bytes] if lie_bytes else snapshot.wal[:length] + bytes(tail)
    path.with_name("crashed.db-wal").write_bytes(kept)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        stored = {row[0] for row in connection.execute("SELECT entry_id FROM entries")}
    assert verify_sqlite(path).faults == ()
    return [entry_id for entry_id in acknowledged if entry_id not in stored]


def check_cuts(directory: Path, cuts: int) -> None:
    snapshot = asyncio.run(record(directory))
    rng = random.Random(4)
    lost = [crash(snapshot, directory, rng) for _ in range(cuts)]
    assert lost == [[]] * cuts
    mutant = sum(bool(crash(snapshot, directory, rng, lie_bytes=rng.randrange(1, 500))) for _ in range(20))
    note(f"torn tail: {cuts} power cuts, 0 lost; mutant (a flush that lies) caught {mutant} of 20")
    assert mutant == 20


def test_a_torn_tail_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """After 200 power cuts every record acknowledged by then is there; a lying flush is exposed each time."""
    check_cuts(tmp_path, cuts=200)


@pytest.mark.long
def test_a_torn_tail_loses_nothing_acknowledged_at_length(tmp_path: Path) -> None:
    """The nightly figure of the same."""
    check_cuts(tmp_path, cuts=5_000)
