"""Control decisions come out of every store as they went in: made again, no bit differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.scenarios import SCENARIOS
from controller.evaluate.workload import SPIKE_START_S, Scenario
from gateway.cli import rederive as reading
from gateway.cli.rederive import rederive
from gateway.store.port import Store
from tests.kit.controlledger import recorded
from tests.kit.entries import START_MS


def told(_: int) -> None:
    """Nobody watches the progress."""


async def test_the_decisions_of_a_spike_are_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, plans between the ticks of their time; from the middle on as well."""
    monkeypatch.setattr(reading, "CONTROL_RECORDS_MAX", 7)
    monkeypatch.setattr(reading, "PAGE_DECISIONS_MAX", 50)
    kept = recorded(replace(SCENARIOS["spike6"], end_s=106.0), 12)
    await kept.store(store)
    made = await rederive(store, None, None, told)
    assert (made.faults, made.unheld) == ([], 0)
    assert made.checked["plan"] + made.untabled == len(kept.controls)
    assert made.checked["tick"] == sum(kind == "tick" for kind, _ in kept.records)
    later = await rederive(store, START_MS + 103_000, None, told)
    assert (later.faults, later.unheld) == ([], 0)
    assert 0 < later.checked["plan"] < made.checked["plan"]


@pytest.mark.long
async def test_ten_thousand_decisions_out_of_a_store(store: Store) -> None:
    """A spike of nine times the base for three and a half minutes: not one difference."""
    long = Scenario("long", "a long spike", lambda t: 9.0 if t >= SPIKE_START_S else 1.0, end_s=330.0)
    kept = recorded(long, 13)
    await kept.store(store)
    made = await rederive(store, None, None, told)
    assert (made.faults, made.unheld) == ([], 0)
    assert made.total >= 10_000
