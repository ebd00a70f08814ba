"""The figures of an evaluation: one line a run, and the lines of a table over the seeds. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.evaluate.matrix import Entry

DIGITS: Final = 4
"""Kept of each figure: tables show three."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy on one seed: what tables are made of. Of the spike window where nothing else is said."""

    policy: str
    seed: int
    attainment: float
    premium: float
    before: float
    """Attainment before the spike."""
    after: float
    """Attainment after it."""
    utility: float
    quality: float
    shed: float
    usd_per_hour: float
    settling_s: float
    """Infinite where it never happened; as the next two."""
    reversals: float
    """A minute."""
    recovery_s: float
    harm_quality: float | None
    """Quality lost where passing through met every target; None without a twin."""
    harm_attainment: float | None
    budget_low: float | None
    """The deepest underspending of a whole budget period, as a share of the budget; None without budgets."""
    budget_high: float | None
    """The worst overspending."""
    decisions_digest: str


def figures_of(entry: Entry) -> Figures:
    """Return the figures of a run."""
    spike, score = entry.score.windows["spike"], entry.score
    return Figures(
        policy=entry.policy,
        seed=entry.seed,
        attainment=_short(spike.attainment),
        premium=_short(spike.by_class.get("premium", math.nan)),
        before=_short(score.windows["before"].attainment),
        after=_short(score.windows["after"].attainment),
        utility=_short(spike.utility),
        quality=_short(spike.quality),
        shed=_short(spike.shed),
        usd_per_hour=_short(spike.usd_per_hour),
        settling_s=_short(score.settling_s),
        reversals=_short(score.reversals_per_minute),
        recovery_s=_short(score.recovery_s),
        harm_quality=None if entry.harm_quality is None else _short(entry.harm_quality),
        harm_attainment=None if entry.harm_attainment is None else _short(entry.harm_attainment),
        budget_low=None if not entry.budget_errors else _short(min(entry.budget_errors)),
        budget_high=None if not entry.budget_errors else _short(max(entry.budget_errors)),
        decisions_digest=entry.decisions_digest,
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One policy over its seeds: the mean of each figure, and of some the worst."""

    policy: str
    attainment: float
    attainment_worst: float
    premium: float
    premium_worst: float
    before: float
    after: float
    utility: float
    quality: float
    shed: float
    usd_per_hour: float
    settling_worst_s: float
    reversals_worst: float
    recovery_worst_s: float


def lines_of(runs: Iterable[Figures]) -> tuple[Line, ...]:
    """Return one line per policy, in order of appearance."""
    by_policy: dict[str, list[Figures]] = {}
    for run in runs:
        by_policy.setdefault(run.policy, []).append(run)
    return tuple(_line(policy, mine) for policy, mine in by_policy.items())


def _line(policy: str, mine: Sequence[Figures]) -> Line:
    def mean(pick: Callable[[Figures], float]) -> float:
        return math.fsum(map(pick, mine)) / len(mine)

    return Line(
        policy=policy,
        attainment=mean(lambda run: run.attainment),
        attainment_worst=min(run.attainment for run in mine),
        premium=mean(lambda run: run.premium),
        premium_worst=min(run.premium for run in mine),
        before=mean(lambda run: run.before),
        after=mean(lambda run: run.after),
        utility=mean(lambda run: run.utility),
        quality=mean(lambda run: run.quality),
        shed=mean(lambda run: run.shed),
        usd_per_hour=mean(lambda run: run.usd_per_hour),
        settling_worst_s=max(run.settling_s for run in mine),
        reversals_worst=max(run.reversals for run in mine),
        recovery_worst_s=max(run.recovery_s for run in mine),
    )


def plain_figures(run: Figures) -> dict[str, Any]:
    """Return the figures as JSON-ready data; what never happened is null."""
    values = {name: getattr(run, name) for name in Figures.__slots__}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


_NULL: Final = {"settling_s": math.inf, "recovery_s": math.inf, "premium": math.nan}
"""What null stands for where it does not mean unknown."""


def figures_from_plain(data: dict[str, Any]) -> Figures:
    """Return the figures that `plain_figures` wrote."""
    values: dict[str, Any] = {
        name: _NULL.get(name) if value is None else value for name, value in data.items()
    }
    return Figures(**values)


def _short(value: float) -> float:
    return round(value, DIGITS)
