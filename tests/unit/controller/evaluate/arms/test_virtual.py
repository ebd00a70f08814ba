"""Runs in virtual time as arms: the same values that live runs have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.arms.data import Arm
from controller.evaluate.arms.figures import causes, figures
from controller.evaluate.arms.retold import spans_of
from controller.evaluate.arms.virtual import arm_of, services_of
from controller.evaluate.baselines import Simple
from controller.evaluate.policy import Controlled
from controller.evaluate.run import Runner
from controller.evaluate.scenarios import SCENARIOS, controller_config
from controller.evaluate.workload import step
from controller.evaluate.world import KINDS, cluster_config

SCENARIO = replace(SCENARIOS["spike4"], shape=step(4.0, 20.0, 40.0), end_s=60.0)


@pytest.fixture(scope="module")
def run() -> tuple:
    """A short controlled run, and its arm."""
    policy = Controlled(controller_config(SCENARIO))
    result = Runner(SCENARIO, 1, policy, cluster_config()).run()
    return result, policy, arm_of(result, policy, "ours")


def test_every_request_is_there(run: tuple) -> None:
    """Offered is what arrived, met is what the evaluation says, and costs are the run's."""
    result, _, arm = run
    assert len(arm.offered) == len(result.served)
    assert [one.met for one in arm.offered] == [one.met for one in result.served]
    assert sum(one.cost_uusd for one in arm.offered) == sum(one.cost_uusd for one in result.served)
    spans = spans_of(SCENARIO)
    assert figures(arm, spans).attainment == sum(one.met for one in result.served) / len(result.served)


def test_plans_are_told_in_words(run: tuple) -> None:
    """What was switched, queued or shed has its sentence, and every request its cause."""
    _, _, arm = run
    told = [one for one in arm.told if one.kind == "MODEL_SWITCHED"]
    moved = sum(one.model not in {"", "llama-70b"} for one in arm.offered)
    assert len(told) == moved > 50
    assert all(one.text.startswith("switched llama-70b -> ") for one in told)
    assert set(causes(arm)) >= {"identity", "lat_price"}
    assert any(one.kind == "EPOCH" for one in arm.told)


def test_moments_are_the_ticks(run: tuple) -> None:
    """Prices and limits of every model, twice a second; the price rises in the spike."""
    _, policy, arm = run
    assert len(arm.moments) == len(policy.ticks)
    assert max(one.prices["llama-70b"] for one in arm.moments) > 0.0
    assert arm.moments[5].limits["llama-70b"] == 128
    assert max(one.in_flight for one in arm.moments) > 10


def test_a_policy_without_plans_has_none_to_tell() -> None:
    """Causes and words are the controller's alone."""
    short = replace(SCENARIO, end_s=10.0)
    arm: Arm = arm_of(Runner(short, 1, Simple(), cluster_config()).run(), Simple())
    assert (arm.told, arm.moments) == ((), ())
    assert set(causes(arm)) == {""}


def test_classes_have_their_targets() -> None:
    """Seconds, and dollars an hour where an intent has a budget."""
    premium = services_of(KINDS)[0]
    assert (premium.name, premium.ttft_s, premium.e2e_s, premium.usd_per_hour) == ("premium", 1.5, 20.0, None)
    budgeted = services_of(SCENARIOS["budget"].kinds)
    assert round(sum(one.usd_per_hour or 0.0 for one in budgeted), 6) == 12.0
