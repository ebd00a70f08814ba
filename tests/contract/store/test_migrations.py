"""Every past schema opens, reads, verifies and takes new records; each is kept as a file of its time."""

from __future__ import annotations

import shutil
from pathlib import Path

import asyncpg
import pytest

from gateway.kernel.types import EVERY_TENANT, NO_TENANT
from gateway.store.anchor import anchor_path
from gateway.store.open import open_store
from gateway.store.port import ControlFilter, Store
from gateway.store.postgres_schema import SCHEMA_VERSION as POSTGRES_VERSION
from gateway.store.retention import drop, export_before
from gateway.store.retention_sqlite import SqliteVault
from gateway.store.sqlite_schema import SCHEMA_VERSION
from gateway.store.verify import verify_sqlite
from gateway.store.verify_postgres import verify_postgres
from gateway.system import SystemClock
from tests.contract.store.test_store import execute
from tests.kit.entries import (
    START_MS,
    CountedRandomness,
    control,
    decision,
    entry_id,
    event,
    memory_item,
    policy,
)
from tests.kit.golden import ACME, DAY_MS, KEPT
from tests.kit.postgres import PostgresServer

GOLDEN = Path(__file__).parent / "golden"


def test_every_schema_has_its_golden_files() -> None:
    """A new schema comes with stores of it."""
    wanted = {f"schema-{number}.sqlite" for number in range(1, SCHEMA_VERSION + 1)}
    wanted |= {f"schema-{number}-dropped.sqlite" for number in range(1, SCHEMA_VERSION + 1)}
    assert {path.name for path in GOLDEN.glob("*.sqlite")} == wanted
    scripts = {f"schema-{number}.postgresql.sql" for number in range(1, POSTGRES_VERSION + 1)}
    assert {path.name for path in GOLDEN.glob("*.sql")} == scripts


def copied(name: str, directory: Path) -> Path:
    """Copy a golden file and its anchor to where it may be written."""
    path = directory / "lumyn.db"
    shutil.copyfile(GOLDEN / name, path)
    shutil.copyfile(anchor_path(GOLDEN / name), anchor_path(path))
    return path


async def opened(url: str) -> Store:
    """Open a store with today's code."""
    return await open_store(url, clock=SystemClock(), randomness=CountedRandomness(9))


async def check_contents(store: Store, memory: list[object]) -> None:
    """It holds what it held, takes more, and refuses what a store refuses."""
    first = decision(1, tenant=ACME, request_key="key-1")
    assert await store.decision_by_key(ACME, "key-1") == first
    assert await store.events(ACME, first.entry_id) == (event(1, first.entry_id, tenant=ACME),)
    assert [item for _, item in await store.memory(NO_TENANT, after=0, limit=9)] == memory
    assert await store.policy(policy().entry_id) == policy()
    found = await store.control(EVERY_TENANT, ControlFilter("tick"), after=0, limit=9)
    assert [record.entry for record in found] == [control(1)]
    assert await store.mark_unknown() == 1
    await store.submit([decision(9)])
    assert await store.decision(EVERY_TENANT, decision(9).entry_id) == decision(9)


@pytest.mark.parametrize("number", range(1, SCHEMA_VERSION + 1))
async def test_a_past_schema_opens_and_verifies(number: int, tmp_path: Path) -> None:
    """Opened by today's code, a past store holds what it held, verifies, and takes more."""
    path = copied(f"schema-{number}.sqlite", tmp_path)
    store = await opened(f"sqlite:{path}")
    await check_contents(store, [memory_item(1)])
    await store.close()
    report = verify_sqlite(path)
    assert report.faults == ()
    assert report.records == 6 + 2


@pytest.mark.parametrize("number", range(1, SCHEMA_VERSION + 1))
async def test_a_past_store_that_was_thinned_out_goes_on(number: int, tmp_path: Path) -> None:
    """What an older version dropped and kept verifies, is guarded now, and can be thinned out again."""
    path = copied(f"schema-{number}-dropped.sqlite", tmp_path)
    assert verify_sqlite(path).faults == (), "also before it is opened"
    store = await opened(f"sqlite:{path}")
    await check_contents(store, [KEPT, memory_item(1)])
    with pytest.raises(Exception, match="append-only"):
        await execute(f"sqlite:{path}", "DELETE FROM entries WHERE kind = 'memory'")
    vault = SqliteVault(path)
    with (tmp_path / "export").open("xb") as file:
        found = await export_before(vault, START_MS + 5, START_MS + 2 * DAY_MS, file)
    await drop(vault, store, found, entry_id=entry_id(8, 8), now_ms=START_MS)
    await vault.close()
    assert (found.dropped, found.kept) == (5, 3)
    await store.close()
    assert verify_sqlite(path).faults == ()


@pytest.mark.parametrize("number", range(1, POSTGRES_VERSION + 1))
async def test_a_past_schema_of_postgresql_opens_and_verifies(number: int, postgres: PostgresServer) -> None:
    """The same on a server, from a script of that time."""
    url = await postgres.empty()
    connection = await asyncpg.connect(url)
    await connection.execute((GOLDEN / f"schema-{number}.postgresql.sql").read_text())
    await connection.close()
    store = await opened(url)
    await check_contents(store, [memory_item(1)])
    await store.close()
    report = await verify_postgres(url)
    assert report.faults == ()
    assert report.records == 6 + 2
