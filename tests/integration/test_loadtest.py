"""A spike in small, whole: real gateways, real ledgers, the simulated llm-d, both arms side by side."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from controller.evaluate.arms.data import Spans
from controller.evaluate.arms.figures import figures
from controller.evaluate.world import PRICES
from loadtest import world
from loadtest.generate import Users
from loadtest.rows import read_rows
from loadtest.run import Plan, Run
from loadtest.schedule import Load, make_schedule
from loadtest.view import Screen

SPANS = Spans(0.5, 1.5, 0.5)
LOAD = Load("spike", SPANS, 4.0, world.KNEE_RPS, 4.0, world.kinds(), 32)


async def test_a_spike_in_small(tmp_path: Path) -> None:
    """Every request has its row, every decision its record, and nothing reaches a backend beside them."""
    schedule = make_schedule(LOAD, 2, world.cluster())
    plan = Plan(
        load=LOAD,
        schedule=schedule,
        services=world.services(),
        arms=("none", "controlled"),
        out=tmp_path,
        users=Users(headers={}, drain_s=4.0),
        prices=PRICES,
        facts={},
        wall_s=lambda: 1_700_000_000.0,
        cluster=world.cluster(),
        together=True,
        agree=False,
    )
    async with asyncio.timeout(90):
        run = await Run(plan, Screen(terminal=False, write=lambda _: None)).play()
    assert run.partial == ""
    assert [check for check in run.checks if not check.ok] == []
    assert any("forwarded without a record" in check.name for check in run.checks)
    assert any("chain of the ledger" in check.name for check in run.checks)
    for arm in run.arms:
        rows = read_rows(tmp_path / f"requests-{arm.name}.jsonl")
        # what is not answered after the drain is a row all the same
        assert len(rows) == len(schedule.asks) + len(schedule.acts)
        assert {row.verdict for row in rows if row.kind == "act"} >= {"TRUST", "ESCALATE"}
        served = [one for one in arm.offered if one.status == "complete"]
        assert served
        assert all(one.tokens_in and one.tokens_out and one.cost_uusd for one in served)
        jobs = {ask.request_id: ask.job for ask in schedule.asks}
        assert all(one.tokens_out == jobs[one.request_id].output_tokens for one in served if not one.capped)
    bypassed, ours = run.arms
    assert {one.model for one in bypassed.offered if one.model} == {"llama-70b"}
    assert {moment.mode for moment in bypassed.moments} == {"bypass"}
    assert {one.cause for one in bypassed.offered if one.decision_id} == {"bypass"}
    assert ours.moments[0].limits == dict(world.SLOTS)
    assert figures(replace(ours), SPANS).offered == len(schedule.asks)
