"""Makes the golden stores of today's schema: `python -m tests.kit.golden DIRECTORY`.

Of each schema there are two SQLite files, one whole (`schema-N.sqlite`) and one that retention has thinned
out (`schema-N-dropped.sqlite`), and one script for PostgreSQL, kept for ever in
tests/contract/store/golden. What is there is never made anew: it stands for the stores that were written
while its schema was the newest.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import sqlite3
import subprocess
import sys
from pathlib import Path

from gateway.kernel.types import Tenant
from gateway.store.port import Store
from gateway.store.postgres import open_postgres
from gateway.store.postgres_schema import SCHEMA_VERSION as POSTGRES_VERSION
from gateway.store.retention import drop, export_before
from gateway.store.retention_sqlite import SqliteVault
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite_schema import SCHEMA_VERSION
from tests.kit.entries import (
    START_MS,
    CountedRandomness,
    StillClock,
    control,
    decision,
    entry_id,
    event,
    memory_item,
    policy,
)
from tests.kit.postgres import PostgresServer, postgres_server

ACME = Tenant("acme")
DAY_MS = 24 * 3600 * 1000
GONE = 20
"""Decision 20 and its outcome were dropped from the thinned-out store."""
KEPT = dataclasses.replace(memory_item(2), at_ms=START_MS - DAY_MS)
"""As old as they, and kept."""


async def fill(store: Store) -> None:
    """What every golden store holds: one entry of each kind, and one decision that was left open."""
    first = decision(1, tenant=ACME, request_key="key-1")
    for entry in (policy(), first, decision(2), event(1, first.entry_id, tenant=ACME)):
        await store.submit([entry])
    await store.submit([memory_item(1), control(1)])


async def make_sqlite(path: Path, *, dropped: bool) -> None:
    """Write the store, whole in one file, with its anchor beside it."""
    store = await open_sqlite(path, clock=StillClock(), randomness=CountedRandomness(4))
    if dropped:
        old = START_MS - DAY_MS
        await store.submit([decision(GONE, at_ms=old), event(GONE, decision(GONE).entry_id, at_ms=old)])
        await store.submit([KEPT])
        vault, export = SqliteVault(path), io.BytesIO()
        found = await export_before(vault, START_MS, START_MS + 2 * DAY_MS, export)
        await drop(vault, store, found, entry_id=entry_id(7, 7), now_ms=START_MS)
        await vault.close()
    await fill(store)
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (path.with_name(path.name + "-writers")).rmdir()


async def make_postgres(server: PostgresServer) -> None:
    """Fill a store on a server."""
    store = await open_postgres(server.url(), clock=StillClock(), randomness=CountedRandomness(4))
    await fill(store)
    await store.close()


def dumped(server: PostgresServer) -> str:
    """The script that makes the store again, without the commands that only psql knows."""
    done = subprocess.run(
        [
            *(server.binaries / "pg_dump", "-h", server.directory, "-U", "lumyn", "-d", "postgres"),
            *("--schema=lumyn", "--inserts", "--no-owner"),
        ],
        check=True, capture_output=True, text=True, user=server.user, cwd=server.directory,
    )  # fmt: skip
    kept = [line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\"))]
    return "\n".join(kept) + "\n"


def main(directory: Path) -> None:
    """Make what is not there yet."""
    for path, dropped in (
        (directory / f"schema-{SCHEMA_VERSION}.sqlite", False),
        (directory / f"schema-{SCHEMA_VERSION}-dropped.sqlite", True),
    ):
        if not path.exists():
            asyncio.run(make_sqlite(path, dropped=dropped))
    script = directory / f"schema-{POSTGRES_VERSION}.postgresql.sql"
    if not script.exists():
        with postgres_server() as server:
            asyncio.run(make_postgres(server))
            script.write_text(dumped(server))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
