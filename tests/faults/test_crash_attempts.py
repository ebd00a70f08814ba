"""`kill -9` of a gateway whose first backend refuses everything: every further attempt is on record."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.store.verify import verify_sqlite
from tests.kit.gatewaybox import Witness, load, read_store, victim, witness

CONNECTIONS = 16
KILLS = 12
MUTANT_KILLS_MAX = 10


def over(first: Witness, second: Witness) -> dict[str, Any]:
    """Two backends: the first is asked first, always, and every request may go on to the second."""
    return {
        "backends": [{"name": "a", "url": first.url}, {"name": "b", "url": second.url}],
        "models": [{"name": "m", "backend": [{"name": "a"}, {"name": "b", "order": 1}]}],
        "breaker": {"failures": 1000, "requests_min": 100_000},
        "retries": {"budget_ratio": 1.0, "budget_per_s": 1000.0},
    }


async def kill_once(
    database: Path, backends: tuple[Witness, Witness], run: int, chance: random.Random, *, mutant: str = ""
) -> list[str]:
    """Start, load, kill at a random moment; return what clients saw answered."""
    answered: list[str] = []
    async with victim(database, backends[0].url, mutant=mutant, **over(*backends)) as gateway:
        clients = [
            asyncio.create_task(load(gateway.port, f"run{run}-{number}", answered))  # noqa: TID251
            for number in range(CONNECTIONS)
        ]
        while not answered:
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.uniform(0.0, 0.12))
        gateway.kill()
        await asyncio.gather(*clients)
    return answered


@pytest.mark.timeout(180)
async def test_every_attempt_is_on_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After each of twelve kills: what the second backend saw has its event, and each decision one fate."""
    chance = random.Random(KILLS)
    database = tmp_path / "lumyn.db"
    async with witness(refuses=True) as first, witness() as second:
        for run in range(KILLS):
            answered = await kill_once(database, (first, second), run, chance)
            kept = read_store(database)
            assert kept.sound
            assert set(first.seen) <= kept.recorded, "forwarded and not recorded"
            assert set(second.seen) <= kept.attempted, "sent again and not recorded"
            assert set(answered) <= kept.attempted
            assert all(len(fates) <= 1 for fates in kept.fates.values())
        async with victim(database, first.url, **over(first, second)) as last:
            assert await asyncio.to_thread(last.stop) == 0
    kept = read_store(database)
    assert {len(fates) for fates in kept.fates.values()} == {1}
    assert ["unknown"] in kept.fates.values(), "kills under load leave exchanges open"
    assert verify_sqlite(database).faults == ()
    with capsys.disabled():
        sys.stdout.write(f"\n{KILLS} kills, {len(first.seen)} refused, {len(second.seen)} sent again\n")


async def test_a_build_that_attempts_first_is_caught(tmp_path: Path) -> None:
    """The test above can fail: a build that does not wait for the event is found out within ten kills."""
    chance = random.Random(7)
    database = tmp_path / "lumyn.db"
    async with witness(refuses=True) as first, witness() as second:
        for run in range(MUTANT_KILLS_MAX):
            await kill_once(database, (first, second), run, chance, mutant="attempt")
            if set(second.seen) - read_store(database).attempted:
                return
    pytest.fail(f"the mutant lived through {MUTANT_KILLS_MAX} kills")
