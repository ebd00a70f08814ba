"""The acceptance bars of `reference/control.md` 3.5, counted over seeds. They are stated, never moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from controller.evaluate.bound import Bound
from controller.evaluate.figures import Figures
from controller.evaluate.report import OURS


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it asks, in how many seeds it was reached, and the worst value."""

    asks: str
    reached: int
    seeds: int
    worst: float

    @property
    def met(self) -> bool:
        """Tell whether every seed reached it."""
        return self.reached == self.seeds


@dataclass(frozen=True, slots=True)
class _Rule:
    asks: str
    value: Callable[[Figures], float | None]
    limit: float
    at_least: bool

    def count(self, runs: Sequence[Figures]) -> Bar | None:
        values = [value for run in runs if (value := self.value(run)) is not None]
        if not values:
            return None
        if self.at_least:
            return Bar(self.asks, sum(value >= self.limit for value in values), len(values), min(values))
        return Bar(self.asks, sum(value <= self.limit for value in values), len(values), max(values))


_DYNAMICS: Final = (
    _Rule("settled within 5 s", lambda run: run.settling_s, 5.0, at_least=False),
    _Rule("at most 4 reversals a minute", lambda run: run.reversals, 4.0, at_least=False),
    _Rule("needless quality loss <= 0.005", lambda run: run.harm_quality, 0.005, at_least=False),
    _Rule("needless attainment loss <= 0.005", lambda run: run.harm_attainment, 0.005, at_least=False),
    _Rule("preferred quality back within 60 s", lambda run: run.recovery_s, 60.0, at_least=False),
)
_BUDGET: Final = (
    _Rule("no budget period above +2 %", lambda run: run.budget_high, 0.02, at_least=False),
    _Rule("no budget period below -8 %", lambda run: run.budget_low, -0.08, at_least=True),
)
_RULES: Final = {
    "spike4": (
        _Rule("attainment >= 0.97", lambda run: run.attainment, 0.97, at_least=True),
        _Rule("premium >= 0.97", lambda run: run.premium, 0.97, at_least=True),
        *_DYNAMICS,
    ),
    "spike6": (
        _Rule("premium >= 0.95", lambda run: run.premium, 0.95, at_least=True),
        *_DYNAMICS,
    ),
    "budget": _BUDGET,
}
UTILITY_SHARE: Final = 0.9
"""Of the practical bound, six times the base."""


def bars_of(scenario: str, runs: Sequence[Figures], bounds: Sequence[Bound] = ()) -> tuple[Bar, ...]:
    """Return the bars that this scenario is held to; none for one that has none."""
    ours = sorted((run for run in runs if run.policy == OURS), key=lambda run: run.seed)
    bars = [bar for rule in _RULES.get(scenario, ()) if (bar := rule.count(ours)) is not None]
    if scenario == "spike6" and ours and len(bounds) == len(ours):
        shares = [run.utility / bound.practical for run, bound in zip(ours, bounds, strict=True)]
        reached = sum(share >= UTILITY_SHARE for share in shares)
        bars.append(Bar("utility >= 0.90 of the practical bound", reached, len(shares), min(shares)))
    return tuple(bars)


def bar_lines(bars: Sequence[Bar]) -> str:
    """Return the bars as text, one a line."""
    return "\n".join(
        f"{'reached' if bar.met else 'missed':8s} {bar.asks}: {bar.reached} of {bar.seeds} seeds, "
        f"worst {bar.worst:.4g}"
        for bar in bars
    )
