"""Virtual time: the knee that the base load comes from, the best fixed split, and twins of the live arms.

A twin is the same schedule, the same controller configuration and the same cluster without sockets: what
a live run should come to where neither machine nor network are in the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from controller.evaluate.arms.data import Arm, Check, Spans
from controller.evaluate.arms.figures import attainment, causes
from controller.evaluate.arms.virtual import arm_of
from controller.evaluate.baselines import Aimd, Fallback, Gradient2, Simple, StaticLimit
from controller.evaluate.policy import Controlled, Policy
from controller.evaluate.run import Result, Runner
from controller.evaluate.split import Split, candidates, priority_only, tuned
from controller.evaluate.workload import Job, Scenario, flat
from controller.evaluate.world import LARGE, QUALITY
from loadtest import world
from loadtest.schedule import Load, Schedule

KNEE_ATTAINED: Final = 0.95
KNEE_RUN_S: Final = 120.0
KNEE_WARM_UP_S: Final = 20.0
KNEE_STEPS: Final = 7
KNEE_SEEDS: Final = (1, 2, 3)
KNEE_RANGE_RPS: Final = (1.0, 16.0)
SPLIT_SEED: Final = 1001
"""The split is searched for on another seed than any run's, as an operator tunes on yesterday's load."""
ATTAINED_WITHIN: Final = 0.02
CAUSES_WITHIN: Final = 0.05
"""`reference/control.md` 4.7: how closely live and virtual runs must agree."""


@dataclass(frozen=True, slots=True)
class Kept(Scenario):
    """A workload whose requests are a schedule's."""

    kept: tuple[Job, ...] = ()

    def jobs(self, seed: int) -> Iterator[Job]:
        """Yield the schedule's requests, whatever the seed."""
        del seed
        yield from self.kept


def workload(load: Load, schedule: Schedule, retries: int = 0) -> Kept:
    """Return a schedule as a workload of the evaluation."""
    scenario = load.scenario()
    return Kept(
        name=scenario.name,
        about=scenario.about,
        shape=scenario.shape,
        kinds=load.kinds,
        end_s=load.spans.end_s,
        retries=retries,
        kept=tuple(ask.job for ask in schedule.asks),
    )


def knee_rps(load: Load) -> float:
    """Return the rate at which the preferred model alone still serves 95 % of the requests on time.

    A bisection over runs of two minutes and three seeds in virtual time, all requests to the preferred model.
    """
    low, high = KNEE_RANGE_RPS
    for _ in range(KNEE_STEPS):
        rate = (low + high) / 2
        if _attained_at(load, rate) >= KNEE_ATTAINED:
            low = rate
        else:
            high = rate
    return low


def _attained_at(load: Load, rate_rps: float) -> float:
    steady = replace(load, shape="soak", spans=Spans(0.0, 0.0, KNEE_RUN_S), base_rps=rate_rps, tools_rps=0.0)
    met = count = 0
    for seed in KNEE_SEEDS:
        jobs = tuple(_cut(job, load.max_tokens) for job in steady.scenario().jobs(seed))
        scenario = Kept("knee", "", flat(), kinds=load.kinds, end_s=KNEE_RUN_S, kept=jobs)
        served = Runner(scenario, seed, Simple(), world.cluster()).run().served
        counted = [one for one in served if one.job.at_s >= KNEE_WARM_UP_S]
        met, count = met + sum(one.met for one in counted), count + len(counted)
    return met / max(1, count)


def _cut(job: Job, max_tokens: int) -> Job:
    return replace(job, output_tokens=min(job.output_tokens, max_tokens), max_tokens=max_tokens)


def search_split(load: Load) -> Split:
    """Return the fixed split whose attained requests are worth most, on a load of its own seed."""
    jobs = tuple(_cut(job, load.max_tokens) for job in load.scenario().jobs(SPLIT_SEED))
    scenario = replace(workload(load, Schedule((), (), load.spans, "")), kept=jobs)
    limits = (world.SLOTS[LARGE] // 2, world.SLOTS[LARGE])
    best: tuple[float, Split] | None = None
    for split in candidates(limits):
        result = Runner(scenario, SPLIT_SEED, tuned(split, world.SLOTS), world.cluster()).run()
        worth = math.fsum(one.job.kind.intent.weight * QUALITY[one.model] for one in result.served if one.met)
        if best is None or worth > best[0]:
            best = (worth, split)
    assert best is not None
    return best[1]


def policy(name: str, knee: float, split: Split | None = None) -> Policy:
    """Return a fresh policy by the name of its arm. Raise ValueError for an unknown one."""
    if name == "none":
        return Simple()
    if name == "controlled":
        return Controlled(world.controller_config())
    if name == "static":
        if split is None:
            raise ValueError("the static arm needs the split that was searched for")
        return tuned(split, world.SLOTS)
    simple: dict[str, Callable[[], Policy]] = {
        "limit": lambda: StaticLimit(knee),
        "aimd": Aimd,
        "gradient": Gradient2,
        "fallback": Fallback,
        "priority": lambda: priority_only(world.SLOTS[LARGE], world.SLOTS),
    }
    if name not in simple:
        raise ValueError(f"no arm {name!r}; known: {', '.join(ARMS)}")
    return simple[name]()


ARMS: Final[dict[str, str]] = {
    "none": "the controller in bypass: every request goes to the model that it names",
    "static": "the best fixed split over the models, found by search, with a priority queue and deadlines",
    "limit": "a token bucket at the measured capacity of the preferred model",
    "aimd": "Netflix' AIMD concurrency limit on the preferred model",
    "gradient": "Netflix' Gradient2 concurrency limit on the preferred model",
    "fallback": "the next model for five seconds after a failure or a slow first token",
    "priority": "a priority queue in front of the preferred model",
    "controlled": "the intent controller, active",
}
"""What each arm is. All but the first and the last are policies of the client's side, before the gateway."""


def run_twin(
    name: str, load: Load, schedule: Schedule, *, knee: float, split: Split | None, retries: int = 0
) -> Arm:
    """Run an arm in virtual time."""
    made = policy(name, knee, split)
    result: Result = Runner(workload(load, schedule, retries), 0, made, world.cluster()).run()
    return replace(arm_of(result, made), name=name, about=ARMS[name])


def agreement(live: Arm, twin: Arm) -> tuple[Check, ...]:
    """Return whether a live arm and its twin agree: attainment within 2 points, causes within 5."""
    here, there = attainment(live.offered), attainment(twin.offered)
    apart = abs(here - there)
    checks = [
        Check(
            f"{live.name}: attainment, live against virtual",
            f"within {ATTAINED_WITHIN:.2f}",
            f"{here:.3f} and {there:.3f}",
            apart <= ATTAINED_WITHIN,
        )
    ]
    ours, theirs = causes(live), causes(twin)
    if any(theirs):
        apart_by = {
            cause: abs(ours.get(cause, 0.0) - theirs.get(cause, 0.0)) for cause in {*ours, *theirs} - {""}
        }
        worst = max(sorted(apart_by), key=lambda cause: apart_by[cause])
        checks.append(
            Check(
                f"{live.name}: causes, live against virtual",
                f"each within {CAUSES_WITHIN:.2f}",
                f"{worst} {ours.get(worst, 0.0):.3f} and {theirs.get(worst, 0.0):.3f}",
                apart_by[worst] <= CAUSES_WITHIN,
            )
        )
    return tuple(checks)
