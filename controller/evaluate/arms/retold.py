"""A scenario of the evaluation as a comparison: the report that live runs have, from virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.evaluate.arms.data import Comparison, Spans
from controller.evaluate.arms.virtual import arm_of, services_of
from controller.evaluate.run import Runner
from controller.evaluate.scenarios import make_policy, without_caps
from controller.evaluate.split import Split
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S, Scenario
from controller.evaluate.world import cluster_config


def spans_of(scenario: Scenario) -> Spans:
    """Return the windows of a scenario as spans."""
    base_s = min(SPIKE_START_S, scenario.end_s)
    peak_s = min(SPIKE_END_S, scenario.end_s) - base_s
    return Spans(base_s, peak_s, scenario.end_s - base_s - peak_s)


def comparison(scenario: Scenario, policies: Sequence[str], seed: int, split: Split | None) -> Comparison:
    """Run policies on one seed of a scenario, in order. Raise ValueError for one that is not known."""
    arms = []
    for name in policies:
        world = without_caps(scenario) if name == "no_caps" else scenario
        policy = make_policy(name, world, split)
        result = Runner(world, seed, policy, cluster_config(flow_control=name == "llmd")).run()
        arms.append(replace(arm_of(result, policy), name=name))
    facts = {
        "scenario": f"{scenario.name}: {scenario.about}",
        "base load": f"{scenario.base_rps:.2f} requests a second",
        "sizes": scenario.sizes,
        "seed": str(seed),
    }
    title = f"Lumyn: {scenario.name} in virtual time"
    spans, services = spans_of(scenario), services_of(scenario.kinds)
    return Comparison(title, "virtual", spans, services, tuple(arms), facts)
