"""The PostgreSQL schema goes forward only, all or nothing, whoever starts beside."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from gateway.kernel.errors import StoreSetupError
from gateway.store import postgres_schema as schema
from gateway.store.postgres_commit import connect
from gateway.store.postgres_schema import SCHEMA_VERSION, migrate


async def test_two_that_start_at_once_make_one_schema(dsn: str) -> None:
    """Both come through, each step has run once, and doing it again changes nothing."""
    connections = [await connect(dsn) for _ in range(3)]
    await asyncio.gather(*map(migrate, connections))
    await migrate(connections[0])
    rows = await connections[0].fetch("SELECT number FROM schema_version ORDER BY number")
    assert [row[0] for row in rows] == list(range(1, SCHEMA_VERSION + 1))
    for connection in connections:
        await connection.close()


async def test_a_step_that_fails_leaves_nothing(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even the schema stays behind a step that could not be done."""
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "CREATE TABLE entries (x int)"))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    connection = await connect(dsn)
    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(connection)
    assert await connection.fetchval("SELECT to_regnamespace('lumyn')") is None
    await connection.close()


async def test_a_newer_schema_is_left_alone(dsn: str) -> None:
    """A version that is not known here is refused with what to do."""
    connection = await connect(dsn)
    await migrate(connection)
    await connection.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(StoreSetupError, match="schema 99") as caught:
        await migrate(connection)
    assert caught.value.hint
    await connection.close()


@pytest.mark.parametrize("table", ["entries", "segments", "writers", "dropped"])
async def test_every_table_of_the_ledger_is_guarded(dsn: str, table: str) -> None:
    """Rows of each can be neither changed nor removed, nor the table emptied, by a statement."""
    connection = await connect(dsn)
    await migrate(connection)
    await connection.execute("INSERT INTO writers (writer, started_ms) VALUES ('W', 0)")
    await connection.execute("INSERT INTO segments VALUES (1, 0, 0, '', '')")
    await connection.execute(
        "INSERT INTO entries (writer, seq, link, kind, entry_id, at_ms, body) "
        "VALUES (1, 0, '', 'c', 'i', 0, '')"
    )
    await connection.execute("INSERT INTO dropped VALUES (1, -9, -9)")
    column = {"entries": "at_ms", "segments": "sealed_ms", "writers": "started_ms", "dropped": "segment"}[
        table
    ]
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = 1", f"TRUNCATE {table}"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await connection.execute(statement)
    await connection.close()
