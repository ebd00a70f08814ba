"""`kill -9` of the whole gateway under load, streams open: recorded before forwarded, one fate each."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gateway.kernel.types import Fate
from gateway.store.verify import verify_sqlite
from tests.kit.figures import note
from tests.kit.gatewaybox import Witness, load, read_store, victim, witness

CONNECTIONS = 16
MUTANT_KILLS_MAX = 10
FATES = {fate.value for fate in Fate}


async def kill_once(
    database: Path, backend: Witness, run: int, chance: random.Random, *, mutant: str = ""
) -> tuple[list[str], int]:
    """Start, load, kill at a random moment; return what clients saw answered, and the streams then open."""
    answered: list[str] = []
    async with victim(database, backend.url, mutant=mutant) as gateway:
        clients = [
            asyncio.create_task(load(gateway.port, f"run{run}-{number}", answered))  # noqa: TID251
            for number in range(CONNECTIONS)
        ]
        while not answered:
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.uniform(0.0, 0.12))
        streams = backend.open_streams
        gateway.kill()
        await asyncio.gather(*clients)
    return answered, streams


async def hold_after_kills(tmp_path: Path, kills: int) -> None:
    """Kill `kills` times on one store, and hold every promise after each and after a last, clean run."""
    chance = random.Random(kills)
    database = tmp_path / "lumyn.db"
    answered: list[str] = []
    streams = 0
    async with witness() as backend:
        for run in range(kills):
            more, open_now = await kill_once(database, backend, run, chance)
            answered += more
            streams += open_now > 0
            kept = read_store(database)
            assert kept.sound
            assert set(backend.seen) <= kept.recorded, "forwarded and not recorded"
            assert set(answered) <= kept.recorded, "acknowledged and not kept"
            assert all(len(fates) <= 1 for fates in kept.fates.values())
        async with victim(database, backend.url) as last:
            assert await asyncio.to_thread(last.stop) == 0
    kept = read_store(database)
    counts = [fates[0] for fates in kept.fates.values() if len(fates) == 1 and fates[0] in FATES]
    assert len(counts) == len(kept.fates), "each decision has one fate after a restart"
    assert "unknown" in counts, "kills under load leave exchanges open, or this test tests nothing"
    assert streams >= kills // 2, "most kills must meet open streams"
    report = verify_sqlite(database)
    assert report.faults == ()
    note(
        f"kill -9, whole gateway: {kills} kills, {len(backend.seen):,} forwarded, 0 lost, "
        f"{len(kept.recorded):,} recorded, {counts.count('unknown')} unknown, {report.records:,} verified"
    )


@pytest.mark.timeout(180)
async def test_thirty_kills(tmp_path: Path) -> None:
    """Whatever reached a backend or a client is on record, with one fate, in a chain that verifies."""
    await hold_after_kills(tmp_path, 30)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_six_hundred_kills(tmp_path: Path) -> None:
    """The same, twenty times over."""
    await hold_after_kills(tmp_path, 600)


async def test_a_build_that_forwards_first_is_caught(tmp_path: Path) -> None:
    """The test above can fail: a broken build is found out within ten kills."""
    chance = random.Random(7)
    database = tmp_path / "lumyn.db"
    async with witness() as backend:
        for run in range(MUTANT_KILLS_MAX):
            await kill_once(database, backend, run, chance, mutant="forward")
            if set(backend.seen) - read_store(database).recorded:
                note(f"kill -9, whole gateway: the mutant that forwards first is caught at kill {run + 1}")
                return
    pytest.fail(f"the mutant lived through {MUTANT_KILLS_MAX} kills")
