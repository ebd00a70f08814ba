"""Makes the golden store of today's schema: `python -m tests.kit.golden DIRECTORY`.

One file a schema, kept for ever in tests/contract/store/golden. A file that is there is never made anew:
it stands for the stores that were written while its schema was the newest.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

from gateway.kernel.types import Tenant
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite_schema import SCHEMA_VERSION
from tests.kit.entries import CountedRandomness, StillClock, control, decision, event, memory_item, policy

ACME = Tenant("acme")


async def make(directory: Path) -> Path:
    """Write the store, whole in one file, with its anchor beside it."""
    path = directory / f"schema-{SCHEMA_VERSION}.sqlite"
    if path.exists():
        raise FileExistsError(path)
    store = await open_sqlite(path, clock=StillClock(), randomness=CountedRandomness(4))
    first = decision(1, tenant=ACME, request_key="key-1")
    for entry in (policy(), first, decision(2), event(1, first.entry_id, tenant=ACME)):
        await store.submit([entry])
    await store.submit([memory_item(1), control(1)])
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (path.with_name(path.name + "-writers")).rmdir()
    return path


if __name__ == "__main__":
    asyncio.run(make(Path(sys.argv[1])))
