"""The SQLite schema goes forward only, in whole steps, and never touches a database that is not ours."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.kernel.errors import StoreSetupError
from gateway.store import sqlite_schema as schema
from gateway.store.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION, migrate


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """An empty database."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as opened:
        yield opened


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """The value of a pragma."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def test_an_empty_database_becomes_ours(connection: sqlite3.Connection) -> None:
    """It gets every step and our mark; doing it again changes nothing."""
    migrate(connection, "a.db")
    migrate(connection, "a.db")
    assert (pragma(connection, "user_version"), pragma(connection, "application_id")) == (
        SCHEMA_VERSION,
        APPLICATION_ID,
    )
    assert bytes.fromhex(f"{APPLICATION_ID:x}") == b"Lumy"


def test_a_step_that_fails_leaves_nothing(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a step is rolled back, and the version stays."""
    migrate(connection, "a.db")
    steps = (*schema.STEPS, "CREATE TABLE half (x);\nCREATE TABLE entries (x);\n")
    monkeypatch.setattr(schema, "STEPS", steps)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", len(steps))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(connection, "a.db")
    assert pragma(connection, "user_version") == len(steps) - 1
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("CREATE TABLE theirs (x)", "something else"),
        ("PRAGMA user_version = 1", "something else"),
        (f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99", "schema 99"),
    ],
)
def test_what_is_not_ours_is_left_alone(connection: sqlite3.Connection, statement: str, word: str) -> None:
    """Tables without our mark, another program's version and a newer schema are refused, unchanged."""
    connection.executescript(statement)
    before = list(connection.iterdump())
    with pytest.raises(StoreSetupError, match=word) as caught:
        migrate(connection, "a.db")
    assert caught.value.hint
    assert list(connection.iterdump()) == before


@pytest.mark.parametrize("table", ["entries", "segments", "writers", "dropped"])
def test_every_table_of_the_ledger_is_guarded(connection: sqlite3.Connection, table: str) -> None:
    """Rows of each can be neither changed nor removed by a statement."""
    migrate(connection, "a.db")
    connection.execute("INSERT INTO writers VALUES (1, 'W', 0, 0)")
    connection.execute("INSERT INTO segments VALUES (1, 0, 0, '', '')")
    connection.execute(
        "INSERT INTO entries (writer, seq, link, kind, entry_id, at_ms, body) "
        "VALUES (1, 0, x'', 'c', 'i', 0, x'')"
    )
    connection.execute("INSERT INTO dropped VALUES (1, -9, -9)")
    column = {"dropped": "segment"}.get(table, "rowid")
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
