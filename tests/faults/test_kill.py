"""B4.1: SIGKILL at any instant loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway.store.sqlite import open_sqlite
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock, SystemRandomness
from tests.kit.crashbox import Crashbox
from tests.kit.figures import note

MUTANT_KILLS_MAX = 20


def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    """After each of 100 kills every forwarded id is stored; at the end the ledger is whole and settled."""
    check_kills(tmp_path, kills=100)


@pytest.mark.long
def test_two_thousand_kills_lose_nothing(tmp_path: Path) -> None:
    """The nightly figure of the same."""
    check_kills(tmp_path, kills=2_000)


def check_kills(directory: Path, kills: int) -> None:
    with Crashbox(directory) as box:
        for _ in range(kills):
            box.kill_once()
    note(f"kill -9: {kills} kills, {len(box.tally.forwarded):,} forwards, {len(box.tally.lost)} lost")
    assert box.tally.lost == set()
    assert len(box.tally.forwarded) >= 10 * kills, "too little was written to prove anything"
    asyncio.run(settle(box.database))
    assert verify_sqlite(box.database).faults == ()
    with contextlib.closing(sqlite3.connect(box.database)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        fates = connection.execute(
            "SELECT count(*), count(DISTINCT decision_id) FROM entries WHERE label = 'outcome'"
        ).fetchone()
        decisions = connection.execute("SELECT count(*) FROM entries WHERE kind = 'decision'").fetchone()[0]
    assert fates == (decisions, decisions), "each decision has one fate"


async def settle(database: Path) -> None:
    async with await open_sqlite(database, clock=SystemClock(), randomness=SystemRandomness()) as store:
        await store.mark_unknown()
        assert await store.dangling(limit=1) == ()


def test_the_mutant_that_forwards_early_is_exposed(tmp_path: Path) -> None:
    """Forwarding before the receipt is found out within 20 kills."""
    with Crashbox(tmp_path, early=True) as box:
        while box.tally.caught_at is None and box.tally.kills < MUTANT_KILLS_MAX:
            box.kill_once()
    note(f"kill -9 mutant: caught at kill {box.tally.caught_at}")
    assert box.tally.caught_at is not None
