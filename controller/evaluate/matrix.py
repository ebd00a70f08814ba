"""Run policies over seeds, in parallel processes, and gather their scores. Results do not depend on order."""

from __future__ import annotations

import math
import multiprocessing
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.evaluate.bound import Bound, bound
from controller.evaluate.policy import Controlled
from controller.evaluate.run import Result, Runner
from controller.evaluate.scenarios import SCENARIOS, make_policy, without_caps
from controller.evaluate.score import Score, needless_harm, score
from controller.evaluate.split import Split, candidates
from controller.evaluate.workload import Scenario
from controller.evaluate.world import cluster_config
from controller.plan import digest

TUNING_SEED: Final = 1
BOOTSTRAP_DRAWS: Final = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy on one seed of one scenario."""

    scenario: str
    policy: str
    seed: int
    score: Score
    harm_quality: float | None = None
    """Needless loss against the pass-through twin; None where that was not run."""
    harm_attainment: float | None = None
    decisions_digest: str = ""
    """Of every plan of a controlled run: equal digests are equal decisions, bit for bit."""
    mode_changes: tuple[str, ...] = ()
    verdicts: Mapping[str, int] | None = None


def run_one(
    scenario: Scenario, policy_name: str, seed: int, split: Split | None = None
) -> tuple[Result, Entry]:
    """Run one policy on one seed."""
    world = without_caps(scenario) if policy_name == "no_caps" else scenario
    policy = make_policy(policy_name, world, split)
    result = Runner(world, seed, policy, cluster_config(flow_control=policy_name == "llmd")).run()
    entry = Entry(scenario.name, policy_name, seed, score(result))
    if not isinstance(policy, Controlled):
        return result, entry
    changes = tuple(
        f"{tick.state.at_s:.1f} s: {tick.mode_change.after.value}, {tick.mode_change.reason}"
        for tick in policy.ticks
        if tick.mode_change is not None
    )
    book = policy.controller.epochs.book
    decisions = digest([policy.plans[name] for name in sorted(policy.plans)])
    return result, Entry(
        scenario.name,
        policy_name,
        seed,
        entry.score,
        decisions_digest=decisions,
        mode_changes=changes,
        verdicts={verdict.value: count for verdict, count in book.closed.items()},
    )


def run_seed(task: tuple[str, tuple[str, ...], int, Split | None]) -> tuple[Entry, ...]:
    """Run several policies on one seed; the controlled ones are held against the pass-through twin."""
    name, policies, seed, split = task
    scenario = SCENARIOS[name]
    twin: Result | None = None
    entries: list[Entry] = []
    for policy in sorted(policies, key=lambda policy: policy != "none"):
        result, entry = run_one(scenario, policy, seed, split)
        if policy == "none":
            twin = result
        elif twin is not None:
            quality, attainment = needless_harm(result, twin)
            fields = {field: getattr(entry, field) for field in Entry.__slots__}
            entry = Entry(**{**fields, "harm_quality": quality, "harm_attainment": attainment})
        entries.append(entry)
    return tuple(entries)


def search_split(scenario: Scenario, seed: int = TUNING_SEED) -> Split:
    """Return the fixed split of the highest utility over the spike of a tuning seed."""
    best, best_utility = None, -math.inf
    for split in candidates():
        _, entry = run_one(scenario, "tuned", seed, split)
        utility = entry.score.windows["spike"].utility
        if utility > best_utility:
            best, best_utility = split, utility
    if best is None:
        raise ValueError("no split to try")
    return best


def run_matrix(
    name: str, policies: Sequence[str], seeds: Sequence[int], *, processes: int, split: Split | None
) -> tuple[Entry, ...]:
    """Run every policy on every seed."""
    tasks = [(name, tuple(policies), seed, split) for seed in seeds]
    return tuple(entry for entries in _map(run_seed, tasks, processes) for entry in entries)


def run_bounds(name: str, seeds: Sequence[int], *, processes: int) -> tuple[Bound, ...]:
    """Return the clairvoyant bound of each seed."""
    return tuple(_map(_bound, [(name, seed) for seed in seeds], processes))


def _bound(task: tuple[str, int]) -> Bound:
    name, seed = task
    return bound(SCENARIOS[name], seed)


def _map(work: Callable[..., object], tasks: Sequence[object], processes: int) -> list:  # type: ignore[type-arg]
    if processes <= 1 or len(tasks) == 1:
        return [work(task) for task in tasks]
    with multiprocessing.get_context("spawn").Pool(min(processes, len(tasks))) as pool:
        return pool.map(work, tasks, chunksize=1)


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean difference over seeds and its 95 % bootstrap interval (seeded)."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = sum(differences) / len(differences)
    rng = random.Random("bootstrap")
    draws = sorted(
        sum(rng.choice(differences) for _ in differences) / len(differences) for _ in range(BOOTSTRAP_DRAWS)
    )
    return mean, draws[int(0.025 * BOOTSTRAP_DRAWS)], draws[int(0.975 * BOOTSTRAP_DRAWS)]
