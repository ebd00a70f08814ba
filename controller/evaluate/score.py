"""Scores, defined once: attainment over what was offered, utility, quality, cost, dynamics, harm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.evaluate.run import Result, Served
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S, WINDOWS
from controller.evaluate.world import QUALITY
from controller.signals import mean_of

SMOOTHING_S: Final = 3.0
REVERSAL_AMPLITUDE: Final = 0.03
SETTLED_SHARE: Final = 0.9
SETTLED_WINDOW_S: Final = 5.0
SETTLED_FOR_S: Final = 15.0
PREFERRED_SHARE: Final = 0.99
"""The mean served quality is back when it is 99 % of the preferred (`reference/control.md` 3.5)."""


@dataclass(frozen=True, slots=True)
class WindowScore:
    """One window of one run. Shares are of the requests offered in it."""

    offered: int
    attainment: float
    by_class: Mapping[str, float]
    utility: float
    quality: float
    shed: float
    downgraded: float
    capped: float
    usd_per_hour: float
    ttft_p95_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """One run. Times are seconds; infinite where it never happened."""

    windows: Mapping[str, WindowScore]
    settling_s: float
    recovery_s: float
    reversals_per_minute: float
    jain: float
    worst_minute_usd_per_hour: float


def score(result: Result) -> Score:
    """Return the scores of a run."""
    spans = {**WINDOWS, "all": (WINDOWS["before"][0], WINDOWS["after"][1])}
    return Score(
        windows={name: _window(_within(result.served, *span), span) for name, span in spans.items()},
        settling_s=settling_s(result.served),
        recovery_s=recovery_s(result.served),
        reversals_per_minute=reversals(result.served, SPIKE_START_S + 20.0, SPIKE_END_S),
        jain=jain(_within(result.served, *WINDOWS["spike"])),
        worst_minute_usd_per_hour=max(
            _usd_per_hour(_within(result.served, start, start + 60.0), 60.0)
            for start in range(20, int(WINDOWS["after"][1]) - 60, 5)
        ),
    )


def needless_harm(controlled: Result, passthrough: Result) -> tuple[float, float]:
    """Return (quality lost, attainment lost) where passing through would have been good for all.

    Twin runs share arrivals and sizes, so ten-second cells of the pass-through run in which every request
    met its targets are cells in which any loss of the controlled run was needless.
    """
    good = {
        cell
        for cell, served in _cells(passthrough.served).items()
        if served and all(item.met for item in served)
    }
    lost_quality, lost_targets, count = 0.0, 0, 0
    for cell, served in _cells(controlled.served).items():
        if cell in good:
            for item in served:
                count += 1
                preferred = QUALITY[item.job.kind.intent.models[0]]
                lost_quality += preferred - QUALITY.get(item.model, 0.0)
                lost_targets += not item.met
    return (lost_quality / count, lost_targets / count) if count else (0.0, 0.0)


def budget_errors(controlled: Result, passthrough: Result) -> tuple[float, ...]:
    """Return by how much of its budget each whole period of each intent is off, under zero where it is under.

    What nobody asked for cannot be spent: a period is underspent against the lesser of its budget and what
    passing through would have cost. Periods begin with the intent's first request, as its account's do.
    """
    errors: list[float] = []
    for intent in dict.fromkeys(item.job.kind.intent for item in controlled.served):
        if intent.budget is None:
            continue
        start_s = next(item.job.at_s for item in controlled.served if item.job.kind.intent == intent)
        allowed_uusd = intent.budget.usd * 1e6
        while start_s + intent.budget.window_s <= WINDOWS["after"][1]:
            span = (start_s, start_s + intent.budget.window_s)
            spent, wanted = (
                math.fsum(
                    item.cost_uusd for item in _within(run.served, *span) if item.job.kind.intent == intent
                )
                for run in (controlled, passthrough)
            )
            errors.append((spent - min(allowed_uusd, wanted)) / allowed_uusd)
            start_s = span[1]
    return tuple(errors)


def settling_s(served: Sequence[Served]) -> float:
    """Return how long after the step 5 s attainment first reaches 0.9 and keeps it for 15 s."""
    t = SPIKE_START_S
    while t < SPIKE_END_S - SETTLED_FOR_S:
        spans = [t + offset for offset in range(int(SETTLED_FOR_S - SETTLED_WINDOW_S) + 1)]
        if all(_attained(_within(served, s, s + SETTLED_WINDOW_S)) >= SETTLED_SHARE for s in spans):
            return t - SPIKE_START_S
        t += 1.0
    return math.inf


def recovery_s(served: Sequence[Served]) -> float:
    """Return how long after the spike 10 s mean served quality is 99 % of the preferred again."""
    t = SPIKE_END_S
    while t < WINDOWS["after"][1] - 10.0:
        cell = [item for item in _within(served, t, t + 10.0) if item.status == "complete"]
        if cell:
            got = mean_of(QUALITY[item.model] for item in cell)
            wanted = mean_of(QUALITY[item.job.kind.intent.models[0]] for item in cell)
            if got >= PREFERRED_SHARE * wanted:
                return t - SPIKE_END_S
        t += 1.0
    return math.inf


def reversals(served: Sequence[Served], start_s: float, end_s: float) -> float:
    """Return direction reversals a minute of mean served quality, smoothed over 3 s, beyond 0.03."""
    levels: list[float] = []
    t = start_s
    while t < end_s:
        cell = [item for item in _within(served, t - SMOOTHING_S, t) if item.model]
        if cell:
            levels.append(mean_of(QUALITY[item.model] for item in cell))
        t += 0.5
    count, direction = 0, 0
    extreme = levels[0] if levels else 0.0
    for level in levels:
        if abs(level - extreme) > REVERSAL_AMPLITUDE:
            turn = 1 if level > extreme else -1
            count += direction not in {0, turn}
            direction, extreme = turn, level
        elif direction * (level - extreme) > 0:
            extreme = level
    return 60.0 * count / (end_s - start_s)


def jain(served: Sequence[Served]) -> float:
    """Return Jain's index over tenants of the share of their tokens that attained: 1 is even."""
    met: dict[str, float] = {}
    total: dict[str, float] = {}
    for item in served:
        tokens = item.job.input_tokens + item.job.output_tokens
        total[item.job.tenant] = total.get(item.job.tenant, 0.0) + tokens
        met[item.job.tenant] = met.get(item.job.tenant, 0.0) + tokens * item.met
    shares = [met[tenant] / total[tenant] for tenant in total]
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


def _within(served: Sequence[Served], start_s: float, end_s: float) -> list[Served]:
    return [item for item in served if start_s <= item.job.at_s < end_s]


def _cells(served: Sequence[Served]) -> dict[int, list[Served]]:
    cells: dict[int, list[Served]] = {}
    for item in _within(served, WINDOWS["before"][0], WINDOWS["after"][1]):
        cells.setdefault(int(item.job.at_s // 10), []).append(item)
    return cells


def _attained(served: Sequence[Served]) -> float:
    return sum(item.met for item in served) / len(served) if served else 1.0


def _usd_per_hour(served: Sequence[Served], seconds: float) -> float:
    return sum(item.cost_uusd for item in served) / 1e6 / seconds * 3600


def _window(served: Sequence[Served], span: tuple[float, float]) -> WindowScore:
    count = max(1, len(served))
    names = dict.fromkeys(item.job.kind.name for item in served)
    best = sum(item.job.kind.intent.weight * QUALITY[item.job.kind.intent.models[0]] for item in served)
    got = sum(item.job.kind.intent.weight * QUALITY[item.model] for item in served if item.met)
    complete = [item for item in served if item.status == "complete"]
    waits = sorted(
        item.first_s - item.job.at_s if math.isfinite(item.first_s) else math.inf for item in served
    )
    return WindowScore(
        offered=len(served),
        attainment=_attained(served),
        by_class={
            name: _attained([item for item in served if item.job.kind.name == name]) for name in sorted(names)
        },
        utility=got / best if best else 1.0,
        quality=mean_of(QUALITY[item.model] for item in complete) if complete else 0.0,
        shed=sum(item.status in {"shed", "expired", "rejected"} for item in served) / count,
        downgraded=sum(item.model not in {"", item.job.kind.intent.models[0]} for item in served) / count,
        capped=sum(item.cap is not None for item in served) / count,
        usd_per_hour=_usd_per_hour(served, span[1] - span[0]),
        ttft_p95_s=waits[int(0.95 * (len(waits) - 1))] if waits else 0.0,
    )
