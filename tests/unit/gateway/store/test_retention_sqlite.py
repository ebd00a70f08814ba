"""The vault of a SQLite file: it never makes one, keeps its hands off what is locked, and flushes."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway.kernel.errors import RecordError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.retention import Segment
from gateway.store.retention_sqlite import SqliteVault
from gateway.store.segments import segment_text
from gateway.store.sqlite import open_sqlite
from tests.kit.entries import START_MS, CountedRandomness, StillClock, decision

SEGMENT = Segment(1, 5, segment_text([], [], []), "sha256:0", 5, ((1, 2), (4, 5)))


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A closed store of ten decisions, one a millisecond, at positions 1 to 10."""
    place = tmp_path / "a.db"
    async with await open_sqlite(place, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(n, awaits_outcome=n == 2, request_key=f"k{n}") for n in range(10)])
    return place


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A mistyped path is an error, and no new file."""
    with pytest.raises(StoreUnavailableError):
        SqliteVault(tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


async def test_the_stretch_ends_before_the_first_that_is_not_older(path: Path) -> None:
    """Up to an instant, and up to the last of all where everything is older."""
    vault = SqliteVault(path)
    assert [await vault.end(START_MS + n) for n in (0, 3, 10, 99)] == [0, 3, 10, 10]
    assert [row[0] async for row in vault.rows(3)] == [1, 2, 3]
    assert await vault.bound(5, START_MS + 4) == {decision(2).entry_id, decision(4).entry_id}
    await vault.close()


async def test_a_segment_goes_whole(path: Path) -> None:
    """Exactly its runs go; sealing the same number again is refused and drops nothing."""
    vault = SqliteVault(path)
    await vault.drop(SEGMENT, 7)
    assert [row[0] async for row in vault.rows(10)] == [3, 6, 7, 8, 9, 10]
    assert (await vault.cuts())[0] == 1
    with pytest.raises(RecordError, match="another drop"):
        await vault.drop(Segment(1, 8, SEGMENT.text, "", 1, ((6, 6),)), 7)
    assert [row[0] async for row in vault.rows(6)] == [3, 6]
    await vault.close()


async def test_the_database_keeps_what_is_not_sealed(path: Path) -> None:
    """A run beyond the segment's end fails the whole transaction, in the database itself."""
    vault = SqliteVault(path)
    with pytest.raises((RecordError, StoreUnavailableError)):
        await vault.drop(Segment(1, 5, SEGMENT.text, "", 1, ((1, 6),)), 7)
    assert (await vault.cuts())[0] == 0
    assert len([row async for row in vault.rows(10)]) == 10
    await vault.close()


async def test_a_locked_file_is_said_and_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's lock is waited for, then reported; a live store beside it is no hindrance."""
    monkeypatch.setattr("gateway.store.retention_sqlite.STORE_COMMIT_S", 0.05)
    vault = SqliteVault(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            await vault.drop(SEGMENT, 7)
        other.execute("ROLLBACK")
    async with await open_sqlite(path, clock=StillClock(), randomness=CountedRandomness(2)) as store:
        await vault.drop(SEGMENT, 7)
        assert await store.decision(EVERY_TENANT, decision(0).entry_id) is None
        await store.submit([decision(50)])
    await vault.close()
