"""The clairvoyant bound: what no policy can exceed, as a linear program over real sizes.

Variables: the share of each request served by each of its rungs. Constraints: in every window of time each
server does no more work than the window is long, for every request that arrives in it and is due in it.
Work is the least that the simulator's own step model can charge (compute of its tokens, and its share of
the fixed cost of a step at the largest batch), so the optimum is above what any policy can reach, before
any queueing. It needs scipy, a development dependency.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S, Job, Scenario
from controller.evaluate.world import LADDER, QUALITY, cluster_config
from controller.llmd.sim.config import ModelConfig

WINDOWS_S: Final = (4.0, 16.0, 64.0, 128.0)
LEAD_S: Final = 10.0
"""Requests that arrive this long before the spike share its windows; earlier ones are left out, which can
only raise the bound."""
PRACTICAL: Final = 0.85
"""Capacity of the practical bound: what random arrivals take, at the least, from a queue with deadlines."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Utility and attainment over the spike window that no policy can exceed, and at 85 % of the capacity."""

    utility: float
    practical: float
    variables: int


@dataclass(frozen=True, slots=True)
class _Variable:
    job: Job
    model: str
    value: float
    prefill_s: float
    work_s: float


def work_s(model: ModelConfig, input_tokens: int, output_tokens: int) -> tuple[float, float]:
    """Return the least server-seconds of (prefill, whole request) on one replica of a simulated model."""
    step, engine = model.engine.step, model.engine
    token_ms = step.token_ms + step.comm_token_ms
    # a decode token pays compute, its sequence, its cache reads, and its share of the step's fixed part
    context = input_tokens + output_tokens / 2
    decode_ms = token_ms + step.seq_ms + step.kv_ms * context
    decode_ms += (step.host_ms + step.comm_ms) / engine.seqs_max
    factor = engine.slowdown / 1000.0 / max(1, model.replicas)
    prefill_s = input_tokens * token_ms * factor
    return prefill_s, prefill_s + max(0, output_tokens - 1) * decode_ms * factor


def bound(scenario: Scenario, seed: int) -> Bound:
    """Return the bound on utility (`score.WindowScore.utility`) of the spike window."""
    models = {model.name: model for model in cluster_config().models}
    jobs = [job for job in scenario.jobs(seed) if SPIKE_START_S - LEAD_S <= job.at_s < SPIKE_END_S]
    variables = [_variable(job, models[name]) for job in jobs for name in job.kind.intent.models]
    best = sum(
        job.kind.intent.weight * QUALITY[job.kind.intent.models[0]]
        for job in jobs
        if SPIKE_START_S <= job.at_s < SPIKE_END_S
    )
    return Bound(
        utility=_solve(variables, 1.0) / best,
        practical=_solve(variables, PRACTICAL) / best,
        variables=len(variables),
    )


def _variable(job: Job, model: ModelConfig) -> _Variable:
    prefill_s, whole_s = work_s(model, job.input_tokens, job.output_tokens)
    counts = SPIKE_START_S <= job.at_s < SPIKE_END_S
    value = job.kind.intent.weight * QUALITY[model.name] if counts else 0.0
    return _Variable(job, model.name, value, prefill_s, whole_s)


def _solve(variables: Sequence[_Variable], capacity: float) -> float:
    """Return the largest total value."""
    # scipy is untyped and only a development dependency: it is reached by name, late
    linprog: Any = importlib.import_module("scipy.optimize").linprog
    csr_matrix: Any = importlib.import_module("scipy.sparse").csr_matrix

    rows: list[int] = []
    columns: list[int] = []
    data: list[float] = []
    limits: list[float] = []

    def add(entries: Sequence[tuple[int, float]], limit: float) -> None:
        if sum(weight for _, weight in entries) <= limit:
            return  # it cannot bind
        rows.extend([len(limits)] * len(entries))
        columns.extend(index for index, _ in entries)
        data.extend(weight for _, weight in entries)
        limits.append(limit)

    by_job: dict[str, list[tuple[int, float]]] = {}
    for index, variable in enumerate(variables):
        by_job.setdefault(variable.job.request_id, []).append((index, 1.0))
    for entries in by_job.values():
        rows.extend([len(limits)] * len(entries))
        columns.extend(index for index, _ in entries)
        data.extend(1.0 for _ in entries)
        limits.append(1.0)
    for model in LADDER:
        mine = [(index, variable) for index, variable in enumerate(variables) if variable.model == model]
        for width_s in WINDOWS_S:
            start_s = SPIKE_START_S - LEAD_S
            while start_s < SPIKE_END_S + 30.0:
                add(_inside(mine, start_s, start_s + width_s, first=True), capacity * width_s)
                add(_inside(mine, start_s, start_s + width_s, first=False), capacity * width_s)
                start_s += width_s / 4
    matrix = csr_matrix((data, (rows, columns)), shape=(len(limits), len(variables)))
    found = linprog(
        [-variable.value for variable in variables],
        A_ub=matrix,
        b_ub=limits,
        bounds=(0.0, 1.0),
        method="highs",
    )
    return -float(found.fun)


def _inside(
    mine: Sequence[tuple[int, _Variable]], start_s: float, end_s: float, *, first: bool
) -> list[tuple[int, float]]:
    """Return the work of what arrives and is due in the window: first tokens, or whole answers."""
    entries: list[tuple[int, float]] = []
    for index, variable in mine:
        if variable.job.at_s < start_s:
            continue
        latency = variable.job.kind.intent.latency
        target_ms = latency.ttft_ms if first else latency.e2e_ms
        if target_ms is not None and variable.job.at_s + target_ms / 1000 <= end_s:
            entries.append((index, variable.prefill_s if first else variable.work_s))
    return entries
