"""`gateway.cli.rederive`: control records and decisions read in step; one plan with its own tick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from controller.evaluate.scenarios import SCENARIOS
from gateway.cli import rederive as reading
from gateway.cli.rederive import control_of, rederive, rederive_one
from gateway.kernel.types import EVERY_TENANT
from gateway.records.types import DecisionEntry
from gateway.store.open import open_store
from gateway.store.port import DecisionFilter, Store
from gateway.system import SystemClock
from tests.kit.controlledger import Kept, recorded
from tests.kit.entries import CountedRandomness, decision


@pytest.fixture(scope="module")
def kept() -> Kept:
    """The ledger of the first seconds of a spike."""
    return recorded(replace(SCENARIOS["spike6"], end_s=104.0), 11)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store."""
    opened = await open_store(f"sqlite:{tmp_path}/l.db", clock=SystemClock(), randomness=CountedRandomness())
    yield opened
    await opened.close()


async def newest(store: Store, *, tabled: bool) -> DecisionEntry:
    """Return the newest decision that has a table, or has none."""
    page = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=500, cursor=None)
    return next(one for one in page.decisions if ("options" in (control_of(one) or {})) is tabled)


async def test_progress_is_told_and_an_empty_ledger_is_no_fault(store: Store, kept: Kept) -> None:
    """After each page how many were made; nothing stored, nothing made."""
    heard: list[int] = []
    assert (await rederive(store, None, None, heard.append)).total == 0
    await kept.store(store)
    made = await rederive(store, None, None, heard.append)
    assert heard[-1] == made.total > 100
    assert made.faults == []


async def test_one_plan_is_made_again_from_its_tick(
    store: Store, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only ticks are read, as many pages as it takes to find its own."""
    monkeypatch.setattr(reading, "CONTROL_RECORDS_MAX", 3)
    await kept.store(store)
    made = await rederive_one(store, await newest(store, tabled=True))
    assert (dict(made.checked), made.faults, made.unheld) == ({"plan": 1}, [], 0)


async def test_a_plan_without_its_table_or_its_tick(store: Store, kept: Kept) -> None:
    """The first cannot be made again and need not; of the second one says so."""
    await kept.store(store)
    assert (await rederive_one(store, await newest(store, tabled=False))).total == 0
    pressed = await newest(store, tabled=True)
    record = orjson.loads(pressed.body)
    record["extensions"]["control"]["snapshot"]["tick_digest"] = "sha256:0"
    lost = await rederive_one(store, replace(pressed, body=orjson.dumps(record)))
    assert (lost.total, lost.unheld) == (0, 1)


def test_the_control_part_is_read_with_care() -> None:
    """No extensions, or others': nothing that a controller has planned."""
    assert control_of(decision(1)) is None
    assert control_of(decision(1, body=b'{"extensions":{"control":7}}')) is None
    assert control_of(decision(1, body=b'{"extensions":{"control":{"plan":1}}}')) == {"plan": 1}
