"""What the doctor sees in a store's file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.store.inspect import KINDS, inspect_sqlite
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite_schema import SCHEMA_VERSION
from tests.kit.entries import StillClock, decision
from tests.kit.seeded import SeededRandomness


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    found = tmp_path / "s.db"
    async with await open_sqlite(found, clock=StillClock(), randomness=SeededRandomness()) as store:
        await store.submit([decision(number, size=2000) for number in range(50)])
    return found


def _words(path: Path) -> str:
    return "; ".join(f"{problem.message} | {problem.hint}" for problem in inspect_sqlite(path).problems)


async def test_a_store_that_is_well_is_counted(path: Path) -> None:
    """A good store has no problem, and a number for each kind."""
    found = inspect_sqlite(path)
    assert found.problems == ()
    assert found.counts == dict.fromkeys(KINDS.values(), 0) | {"decisions": 50}


async def test_looking_makes_no_writer(path: Path) -> None:
    """An inspection adds nothing to the store."""
    before = path.read_bytes()
    inspect_sqlite(path)
    assert path.read_bytes() == before


async def test_a_newer_schema_is_told(path: Path) -> None:
    """A store of a later version names both versions and what to install."""
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    assert f"schema {SCHEMA_VERSION + 1}" in _words(path)
    assert "install the newer version" in _words(path)


async def test_a_damaged_store_is_told(path: Path) -> None:
    """Pages overwritten in the middle are found, with what to do."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 16_384] = b"\xa5" * 16_384
    path.write_bytes(data)
    assert "is damaged" in _words(path)
    assert "restore a backup" in _words(path)


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    """No database, another's database and an empty file are three different things."""
    text, foreign, empty = tmp_path / "t.db", tmp_path / "f.db", tmp_path / "e.db"
    text.write_text("hello " * 1000)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    empty.touch()
    assert "file is not a database" in _words(text)
    assert "is a database of something else" in _words(foreign)
    assert "is empty" in _words(empty)


async def test_what_may_not_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file and a directory without leave to write, and a disk mounted for reading, each with its mend."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        assert "is read-only | chmod u+w" in _words(path)
        assert f"cannot write in {path.parent}" in _words(path)
    mounted = os.statvfs(path.parent)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=mounted.f_flag | os.ST_RDONLY))
    assert "lies on a read-only disk | mount it for writing" in _words(path)
