"""What a tick decided by, as values that a ledger can hold: with them its decisions can be made again.

What was measured (coefficients, paces, loads, misses) stands in a step as a fact; what was decided from it
(prices, limits, weights, mode) is derived anew by the same functions. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from controller.core.account import AccountStep
from controller.estimator import Coefficients
from controller.guard import GuardState, Vitals
from controller.plan import Mode
from controller.prices import LimitStep, PriceStep

BANDS: Final = (0.02, 0.1, 0.3, 1.0)
"""Edges of the price, in typical values per typical work: crossing one is a change worth proving."""
LIMIT_STEP: Final = 0.2
"""A limit that moved by a fifth since its last epoch is another limit."""
RELIEF_S: Final = 30.0
CALM_RATIO: Final = 0.8


@dataclass(frozen=True, slots=True)
class Relief:
    """The look for a queue of our own making, where there was a queue to look at."""

    queued_for_s: float
    patience_s: float
    waiting: bool
    """Whether anything waits that is not held back on purpose."""
    usable: bool
    tpot_s: float | None
    tpot_target_s: float | None
    in_flight: int
    best_in_flight: float
    since_relief_s: float | None
    """None where the limit was never opened before."""

    @property
    def due(self) -> bool:
        """Tell whether the backend is half idle and on pace, and work waits all the same."""
        if self.queued_for_s < self.patience_s or not self.waiting or not self.usable:
            return False
        pace_s, target_s = self.tpot_s, self.tpot_target_s
        on_pace = pace_s is None or target_s is None or pace_s < CALM_RATIO * target_s
        return on_pace and self.in_flight < 0.5 * self.best_in_flight

    @property
    def opens_to(self) -> int:
        """Return the limit that is opened to."""
        return math.ceil(self.best_in_flight)

    @property
    def again(self) -> bool:
        """Tell whether opening the limit half a minute ago has not cured it."""
        return self.since_relief_s is not None and self.since_relief_s < RELIEF_S


@dataclass(frozen=True, slots=True)
class ModelStep:
    """What moved one model in a tick. None where its tuning has that part switched off, or nothing waited."""

    model: str
    price: PriceStep | None
    limit: LimitStep | None
    relief: Relief | None


@dataclass(frozen=True, slots=True)
class RollBack:
    """A price or a limit that was set back because it had not helped."""

    model: str
    kind: str
    """Of the epoch: `price_up` or `limit_down`."""
    to: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a model's price and limit stood when their last changes of weight were noted."""

    model: str
    band: int
    """How many of `BANDS` its price was above."""
    limit: int


@dataclass(frozen=True, slots=True)
class Crossing:
    """A change of weight, worth an epoch: of what kind, what is hoped of it, what a roll-back restores."""

    kind: str
    hypothesis: str
    before: float


def crossings(mark: Mark, price: float, unit: float, limit: int) -> tuple[Mark, tuple[Crossing, ...]]:
    """Return the new mark, and which changes of weight lie between it and the old one."""
    found: list[Crossing] = []
    name, band = mark.model, sum(1 for edge in BANDS if price > edge * unit)
    if band != mark.band:
        rises = band > mark.band
        hypothesis = (
            f"with a price on {name} fewer of the requests that prefer it miss their targets"
            if rises
            else f"giving {name} back to those who prefer it does not raise their misses"
        )
        edge = BANDS[mark.band - 1] * unit if mark.band else 0.0
        found.append(Crossing("price_up" if rises else "price_down", hypothesis, edge))
    noted = mark.limit
    if abs(limit - noted) > LIMIT_STEP * noted:
        if limit < noted:
            hypothesis = f"with at most {limit} in flight on {name} instead of {noted} fewer miss their pace"
            found.append(Crossing("limit_down", hypothesis, float(noted)))
        noted = limit
    return Mark(name, band, noted), tuple(found)


@dataclass(frozen=True, slots=True)
class TickStep:
    """Everything that a tick's decisions were made from."""

    operator_mode: Mode
    guard: GuardState
    """Before the vote."""
    vitals: Vitals
    models: tuple[ModelStep, ...]
    intents: tuple[AccountStep, ...]
    rolled_back: tuple[RollBack, ...]
    marks: tuple[Mark, ...]
    """Before the tick, in the order of `models`."""


def batch_nominal(
    coefficients: Coefficients, limit: int, ceiling: int, replicas: int, target_s: float | None
) -> float:
    """Return the batch per replica at which work is counted: where the learned pace meets the target.

    Only a unit: a wrong one is taken up by the measured capacity.
    """
    at_limit, c = limit / replicas, coefficients
    if target_s is None or c.decode_sequence_s <= 0.0:
        return at_limit
    meets = (target_s / c.tpot_bias - c.decode_base_s) / c.decode_sequence_s
    return min(max(meets, at_limit, 1.0), ceiling / replicas)
