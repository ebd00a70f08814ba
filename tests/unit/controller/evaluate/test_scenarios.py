"""`controller.evaluate.scenarios`: the table of workloads says what it does, and names make policies."""

from __future__ import annotations

import dataclasses
import re

import pytest

from controller.core import Tuning
from controller.evaluate.policy import Controlled
from controller.evaluate.scenarios import (
    ABLATIONS,
    BUDGET_WINDOW_S,
    MAIN_POLICIES,
    POLICIES,
    SCENARIOS,
    controller_config,
    make_policy,
    without_caps,
)
from controller.evaluate.split import candidates
from controller.evaluate.tables import SIZES
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S, Scenario
from controller.evaluate.world import LADDER, SPEEDS, intent_set
from controller.intent import PressureAction

EVERY = pytest.mark.parametrize("scenario", list(SCENARIOS.values()), ids=list(SCENARIOS))
IN_THE_SPIKE_S = (SPIKE_START_S + SPIKE_END_S) / 2


def plain_tuning(name: str) -> dict[str, object]:
    """Return the tuning of a controlled policy, field by field."""
    made = make_policy(name, SCENARIOS["base"])
    assert isinstance(made, Controlled)
    return dataclasses.asdict(made.controller.config.tuning)


@EVERY
def test_a_scenario_can_be_run(scenario: Scenario) -> None:
    """Its rate is never negative, its sizes exist, its shares add up, and there is a line about it."""
    assert scenario.base_rps > 0
    assert all(scenario.shape(t / 2) >= 0 for t in range(int(2 * scenario.end_s)))
    assert {scenario.sizes, scenario.sizes_later or scenario.sizes} <= set(SIZES)
    assert sum(kind.share for kind in scenario.kinds) == pytest.approx(1.0)
    assert scenario.about
    assert SCENARIOS[scenario.name] is scenario


@EVERY
def test_faults_are_healed_when_the_spike_ends(scenario: Scenario) -> None:
    """A fault starts with the spike, in a model that there is, and the last entry of its model heals it."""
    if not scenario.faults:
        return
    broken, healed = scenario.faults
    assert broken.model == healed.model
    assert broken.model in LADDER
    assert (broken.at_s, healed.at_s) == (SPIKE_START_S, SPIKE_END_S)
    assert (healed.slowdown, healed.error_rate, healed.hang_rate) == (1.0, 0.0, 0.0)
    assert (broken.slowdown, broken.error_rate, broken.hang_rate) != (1.0, 0.0, 0.0)


@EVERY
def test_it_says_how_high_it_goes(scenario: Scenario) -> None:
    """A number in the name of a spike, ramp or flash is the multiple of the base that it reaches."""
    named = re.fullmatch(r"(?:spike|ramp|flash)(\d+)", scenario.name)
    peak = max(scenario.shape(t / 2) for t in range(int(2 * scenario.end_s)))
    if named is not None:
        assert peak == pytest.approx(float(named[1]))
        assert scenario.shape(SPIKE_START_S - 1) == 1.0
    if scenario.faults or scenario.name in {"base", "price3", "budget"}:
        assert peak == scenario.shape(IN_THE_SPIKE_S) == 1.0
    if scenario.name == "calm":
        assert peak == 0.5


def test_budgets_add_up_to_what_is_said() -> None:
    """12 dollars an hour in all are shared out by class, and are soft: money may not refuse."""
    budgets = [kind.intent.budget for kind in SCENARIOS["budget"].kinds]
    assert None not in budgets
    assert sum(budget.usd for budget in budgets if budget) * 3600 / BUDGET_WINDOW_S == pytest.approx(12.0)
    assert all(budget is not None and not budget.hard for budget in budgets)


def test_only_the_planner_is_misled() -> None:
    """A wrong speed is told to the controller, five times off, and leaves the workload as it is."""
    for name, factor in (("planner02", 0.2), ("planner5", 5.0), ("base", 1.0)):
        told = controller_config(SCENARIOS[name]).catalogue
        for model in LADDER:
            assert told[model].speed == SPEEDS[model].scaled(factor)
    assert SCENARIOS["planner5"].shape(0.0) == SCENARIOS["base"].shape(0.0) == 1.0


def test_the_controller_is_told_the_intents_and_nothing_of_the_workload() -> None:
    """Two workloads of the same classes give one configuration, so that none is tuned for its own."""
    base = controller_config(SCENARIOS["base"])
    assert base.digest == controller_config(SCENARIOS["spike9"]).digest
    assert base.digest == controller_config(SCENARIOS["errors"]).digest
    assert base.intents.digest == intent_set().digest
    assert base.digest != controller_config(SCENARIOS["budget"]).digest


def test_caps_can_be_forbidden() -> None:
    """Every class loses that one action and keeps everything else."""
    before, after = SCENARIOS["spike4"], without_caps(SCENARIOS["spike4"])
    for old, new in zip(before.kinds, after.kinds, strict=True):
        assert old.intent.allows(PressureAction.CAP_TOKENS)
        assert not new.intent.allows(PressureAction.CAP_TOKENS)
        kept = set(old.intent.on_pressure) - {PressureAction.CAP_TOKENS}
        assert set(new.intent.on_pressure) == kept
        assert dataclasses.replace(new.intent, on_pressure=old.intent.on_pressure) == old.intent
    assert dataclasses.replace(after, kinds=before.kinds) == before


def test_an_ablation_takes_one_thing_away() -> None:
    """The controller itself runs on the defaults, and each ablation differs from it in one number."""
    ours = plain_tuning("controlled")
    assert ours == dataclasses.asdict(Tuning())
    changed = {}
    for name in ABLATIONS:
        theirs = plain_tuning(name)
        changed[name] = [field for field in ours if theirs[field] != ours[field]]
    assert changed == {
        "no_forward": ["feed_forward"],
        "no_price": ["price"],
        "no_caps": [],
        "symmetric": ["recovery"],
        "planner_limit": ["learned_limit"],
    }


def test_no_caps_forbids_them_in_the_intents() -> None:
    """That ablation is the customer's word and not a tuning."""
    made = make_policy("no_caps", SCENARIOS["spike4"])
    assert isinstance(made, Controlled)
    for kind in made.controller.config.intents.intents:
        assert not kind.allows(PressureAction.CAP_TOKENS)


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_made_fresh(name: str) -> None:
    """No run can see what another has learnt."""
    split = next(candidates())
    assert make_policy(name, SCENARIOS["base"], split) is not make_policy(name, SCENARIOS["base"], split)


def test_names_are_unique() -> None:
    """Main policies and ablations do not overlap."""
    assert len(set(POLICIES)) == len(POLICIES) == len(MAIN_POLICIES) + len(ABLATIONS)


def test_what_cannot_be_made_is_said_so() -> None:
    """The tuned split has to be handed in; an unknown name lists those that are known."""
    with pytest.raises(ValueError, match="pass it"):
        make_policy("tuned", SCENARIOS["base"])
    with pytest.raises(ValueError, match=r"'best'.*controlled"):
        make_policy("best", SCENARIOS["base"])
