"""A process whose WAL outgrows its index, while the disk is full just there. Run under strace.

    python -m tests.kit.longwal DATABASE

A reader keeps the WAL from beginning anew, so that its index grows by a second piece. What comes of it is
the one line of its output, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from pathlib import Path

import orjson

from gateway.kernel.errors import StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.sqlite import open_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision

FRAMES_OF_FIRST_PIECE = 4062
"""The WAL index maps so many frames with its first 32 KiB (walformat, sqlite.org)."""
BATCH = 64
WITHIN_S = 5.0


async def main(database: Path) -> dict[str, object]:
    """Append until the store says no, wait until it is well again, append once more."""
    store = await open_sqlite(database, clock=SystemClock(), randomness=SystemRandomness())
    await store.submit([decision(0)])
    stored, reason, fatal = 1, "", False
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        while not reason and stored < 2 * FRAMES_OF_FIRST_PIECE:
            try:
                await store.submit([decision(stored + n, size=3_000) for n in range(BATCH)])
                stored += BATCH
            except StoreUnavailableError:
                reason, fatal = store.health().reason, store.health().fatal
    last = decision(stored)
    async with asyncio.timeout(WITHIN_S):
        while not fatal:
            # A probe is small: it may find room where the next commit does not yet, and is refused once more.
            with contextlib.suppress(StoreUnavailableError):
                await store.submit([last])
                break
            await asyncio.sleep(0.01)
            fatal = store.health().fatal
    kept = await store.decision(EVERY_TENANT, last.entry_id)
    await store.close()
    return {"stored": stored + 1, "reason": reason, "fatal": fatal, "went_on": kept == last}


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(asyncio.run(main(Path(sys.argv[1])))))
