"""Run policies over seeds, in parallel processes, and gather their scores. Results do not depend on order."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from controller.evaluate.bound import Bound, bound
from controller.evaluate.policy import Controlled
from controller.evaluate.run import Result, Runner
from controller.evaluate.scenarios import SCENARIOS, make_policy, without_caps
from controller.evaluate.score import Score, budget_errors, needless_harm, score
from controller.evaluate.series import Series, series_of
from controller.evaluate.split import Split, candidates
from controller.evaluate.workload import Scenario
from controller.evaluate.world import cluster_config
from controller.plan import digest

TUNING_SEED: Final = 1
BOOTSTRAP_DRAWS: Final = 2000
Progress = Callable[[int, int], None]
T = TypeVar("T")
R = TypeVar("R")


def _silent(done: int, total: int) -> None:
    """Say nothing."""


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
    budget_errors: tuple[float, ...] = ()
    """Of each whole budget period; known with a twin only."""
    series: Series | None = None
    """The run over time, where it was asked for."""


@dataclass(frozen=True, slots=True)
class Task:
    """Several policies on one seed of one scenario."""

    scenario: str
    policies: tuple[str, ...]
    seed: int
    split: Split | None = None
    series: bool = False


def run_one(
    scenario: Scenario, policy_name: str, seed: int, split: Split | None = None, *, series: bool = False
) -> tuple[Result, Entry]:
    """Run one policy on one seed; with `series` keep it over time as well."""
    world = without_caps(scenario) if policy_name == "no_caps" else scenario
    policy = make_policy(policy_name, world, split)
    result = Runner(world, seed, policy, cluster_config(flow_control=policy_name == "llmd")).run()
    ticks = policy.ticks if isinstance(policy, Controlled) else ()
    over_time = series_of(result, ticks) if series else None
    entry = Entry(scenario.name, policy_name, seed, score(result), series=over_time)
    if not isinstance(policy, Controlled):
        return result, entry
    changes = tuple(
        f"{tick.state.at_s:.1f} s: {tick.mode_change.after.value}, {tick.mode_change.reason}"
        for tick in policy.ticks
        if tick.mode_change is not None
    )
    book = policy.controller.epochs.book
    decisions = digest([policy.plans[name] for name in sorted(policy.plans)])
    return result, replace(
        entry,
        decisions_digest=decisions,
        mode_changes=changes,
        verdicts={verdict.value: count for verdict, count in book.closed.items()},
    )


def run_task(task: Task) -> tuple[Entry, ...]:
    """Run several policies on one seed; the controlled ones are held against the pass-through twin."""
    scenario = SCENARIOS[task.scenario]
    twin: Result | None = None
    entries: dict[str, Entry] = {}
    for policy in sorted(task.policies, key=lambda policy: policy != "none"):
        result, entry = run_one(scenario, policy, task.seed, task.split, series=task.series)
        if policy == "none":
            twin = result
        elif twin is not None:
            quality, attainment = needless_harm(result, twin)
            entry = replace(
                entry,
                harm_quality=quality,
                harm_attainment=attainment,
                budget_errors=budget_errors(result, twin),
            )
        entries[policy] = entry
    return tuple(entries[policy] for policy in task.policies)


def search_split(scenario: Scenario, seed: int = TUNING_SEED, progress: Progress = _silent) -> Split:
    """Return the fixed split of the highest utility over the spike of a tuning seed."""
    best, best_utility = None, -math.inf
    tried = tuple(candidates())
    for number, split in enumerate(tried, 1):
        _, entry = run_one(scenario, "tuned", seed, split)
        utility = entry.score.windows["spike"].utility
        if utility > best_utility:
            best, best_utility = split, utility
        progress(number, len(tried))
    if best is None:
        raise ValueError("no split to try")
    return best


def run_matrix(
    name: str,
    policies: Sequence[str],
    seeds: Sequence[int],
    *,
    processes: int,
    split: Split | None,
    series: bool = False,
    progress: Progress = _silent,
) -> tuple[Entry, ...]:
    """Run every policy on every seed; `progress` hears how many of how many seeds are done."""
    tasks = [Task(name, tuple(policies), seed, split, series) for seed in seeds]
    return tuple(entry for entries in _map(run_task, tasks, processes, progress) for entry in entries)


def run_bounds(
    name: str, seeds: Sequence[int], *, processes: int, progress: Progress = _silent
) -> tuple[Bound, ...]:
    """Return the clairvoyant bound of each seed."""
    return tuple(_map(_bound, [(name, seed) for seed in seeds], processes, progress))


def _bound(task: tuple[str, int]) -> Bound:
    name, seed = task
    return bound(SCENARIOS[name], seed)


def _map(work: Callable[[T], R], tasks: Sequence[T], processes: int, progress: Progress) -> list[R]:
    done: list[R] = []
    with contextlib.ExitStack() as stack:
        if processes <= 1 or len(tasks) == 1:
            results: Iterable[R] = map(work, tasks)
        else:
            pool = multiprocessing.get_context("spawn").Pool(min(processes, len(tasks)))
            results = stack.enter_context(pool).imap(work, tasks, chunksize=1)
        for result in results:
            done.append(result)
            progress(len(done), len(tasks))
    return done


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean difference over seeds and its 95 % bootstrap interval (seeded)."""
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = sum(differences) / len(differences)
    rng = random.Random("bootstrap")
    draws = sorted(
        sum(rng.choice(differences) for _ in differences) / len(differences) for _ in range(BOOTSTRAP_DRAWS)
    )
    return mean, draws[int(0.025 * BOOTSTRAP_DRAWS)], draws[int(0.975 * BOOTSTRAP_DRAWS)]
