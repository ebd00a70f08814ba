"""Prices and limits, the slow layer, moved once a tick.

One congestion price and one in-flight limit per model, one budget price per intent.

Projected dual ascent: a price rises while there is more than can be served and falls, five times more
slowly, while there is less. Gains are relative to what a typical request is worth and takes, so they
have no units to tune (`reference/control.md` 2.5). Pure: time comes in as `dt_s`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from controller.intent import Bias

GAIN_UP: Final = 0.14
"""Of a typical value per server-second, for each unit of load error, per second: full price in seconds."""
RECOVERY: Final = 5.0
"""Prices attack this much faster than they recover; DAGOR's and Brownout's asymmetry."""
SET_POINT: Final = {Bias.QUALITY: 0.97, Bias.BALANCED: 0.92, Bias.LATENCY: 0.85}
"""The load that is aimed at: below 1 by what a queue needs to stay short."""
RECOVERY_SCALE: Final = {Bias.QUALITY: 0.8, Bias.BALANCED: 0.4, Bias.LATENCY: 0.25}
"""How fast quality comes back, on top of `RECOVERY`: faster, and served quality swings with every wave of
arrivals; slower, and it is missed for a minute after a spike."""
BACKLOG_S: Final = 3.0
"""A queue is load that should be gone in so many seconds."""
ERROR_MAX: Final = 4.0
"""A x6 spike gives an error of 4; more would only overshoot."""
PRICE_MAX: Final = 0.5
"""In typical values per typical work. Displacing a class to its next rung takes under 0.1; a higher price
would refuse large requests of the highest class that the queue can still serve in time."""
LIMIT_MIN: Final = 4
"""Below four in flight an engine does not batch, and nothing can be measured."""
LIMIT_DOWN: Final = 0.90
LIMIT_UP: Final = 1.03
"""Slew per tick: down 10 %, up 3 % (`reference/control.md` 2.5)."""
LIMIT_USED: Final = 0.8
"""A limit that is not used says nothing about whether it is right: it does not grow then (Vegas) ..."""
DEAD_TIME_TICKS: Final = 8.0
"""A pace is some four seconds old when it is measured: an answer tells of its whole life. Corrected in full
at every tick, a limit would fall eight times before the first fall could show."""
HEADROOM: Final = 2.5
CALM_PACE: Final = 1.15
"""... except up to 2.5 times what is in flight while the pace is 15 % better than declared: a limit that
hugs the load of quiet times would be a wall at the first spike."""
EXPECTED_MARGIN: Final = 1.1
"""Unused headroom ends 10 % above where the learned pace says that the target is met."""
BURST_EXCUSED: Final = 0.5
"""The quick estimate of arrivals counts only beyond half a backend of excess: requests are few and large,
so that it wanders by that much under a steady load, and prices that rise faster than they fall would drift
up with every wave."""
GOOD_MEMORY_TICKS: Final = 20
"""Ten seconds of in-flight counts that met the intent: the floor that a limit may not fall below."""
BUDGET_GAIN: Final = 0.03
BUDGET_SET_POINT: Final = 0.97
BUDGET_EMA: Final = 0.1
"""ParetoBandit's pacer: smoothed spend rate over the allowed rate, aimed 3 % below it."""
BUDGET_PRICE_MAX: Final = 3.0
"""In typical values per typical cost: enough to put every request on its cheapest rung."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a tick knows of one model's load."""

    arrival_rate: float
    """Server-seconds of work assigned per second, over some seconds."""
    burst_rate: float
    """The same over about one second."""
    queued_work_s: float
    """Server-seconds that wait."""
    capacity: float
    """Server-seconds served per second when there is enough work."""
    value_mean: float
    """Typical weight of the requests assigned here."""
    work_mean_s: float
    """Typical work of a request here."""

    @property
    def unit(self) -> float:
        """Return the typical value of typical work, which prices are counted in."""
        return self.value_mean / max(self.work_mean_s, 1e-6)


@dataclass(frozen=True, slots=True)
class PriceStep:
    """Everything that one move of a congestion price is made from; a ledger can hold it."""

    before: float
    load: Load
    dt_s: float
    bias: Bias
    frozen: bool
    """While a roll-back is in force it may only fall."""
    gain_up: float
    recovery: float


def price_after(step: PriceStep) -> tuple[float, float]:
    """Return the price after a step, and the load error that moved it."""
    load = step.load
    capacity = max(load.capacity, 1e-6)
    demand = max(load.arrival_rate, load.burst_rate - BURST_EXCUSED * capacity)
    demand += load.queued_work_s / BACKLOG_S
    error = min(demand / capacity - SET_POINT[step.bias], ERROR_MAX)
    gain = step.gain_up * load.unit
    if error > 0.0:
        move = 0.0 if step.frozen else gain * error
    else:
        move = gain * error * RECOVERY_SCALE[step.bias] / step.recovery
    return min(max(step.before + move * step.dt_s, 0.0), PRICE_MAX * load.unit), error


class CongestionPrice:
    """The price of a server-second of one model, in value."""

    __slots__ = ("_gain_up", "_recovery", "error", "value")

    def __init__(self, gain_up: float = GAIN_UP, recovery: float = RECOVERY) -> None:
        self._gain_up = gain_up
        self._recovery = recovery
        self.value = 0.0
        self.error = 0.0

    def tick(self, load: Load, dt_s: float, bias: Bias, *, frozen: bool = False) -> PriceStep:
        """Move the price by one tick; return what it was moved by."""
        step = PriceStep(self.value, load, dt_s, bias, frozen, self._gain_up, self._recovery)
        self.value, self.error = price_after(step)
        return step

    def reset(self, value: float = 0.0) -> None:
        """Set the price back, as a roll-back or a trip of the guard does."""
        self.value = max(0.0, value)


@dataclass(frozen=True, slots=True)
class LimitStep:
    """Everything that one move of an in-flight limit is made from; a ledger can hold it."""

    before: float
    ceiling: int
    in_flight: int
    tpot_s: float | None
    tpot_target_s: float | None
    expected: float | None
    """Where the learned pace meets the target. It only bounds headroom that nobody uses: requests that
    really are in flight at a good pace always move the limit up."""
    good: int
    """The most in flight over the last ten seconds, this tick included, that met the target."""


def limit_after(step: LimitStep) -> float:
    """Return the limit after a step; without a measurement or a target it stays."""
    if step.tpot_s is None or step.tpot_target_s is None or step.tpot_s <= 0.0:
        return step.before
    ratio, value = step.tpot_target_s / step.tpot_s, step.before
    if ratio < 1.0:
        # shrink from what is really in flight: an unused ceiling is no starting point
        start = min(value, max(step.in_flight, LIMIT_MIN) * 1.1)
        factor = max(ratio ** (1.0 / DEAD_TIME_TICKS), LIMIT_DOWN)
        value = min(value, max(start * factor, float(max(LIMIT_MIN, step.good))))
    elif step.in_flight >= LIMIT_USED * value:
        value *= min(ratio, LIMIT_UP)
    else:
        value = _with_headroom(step, ratio)
    return min(max(value, float(LIMIT_MIN)), float(step.ceiling))


def _with_headroom(step: LimitStep, ratio: float) -> float:
    value, expected = step.before, step.expected
    wanted = HEADROOM * float(step.good)
    if expected is not None:
        wanted = min(wanted, max(EXPECTED_MARGIN * expected, step.in_flight / LIMIT_USED * LIMIT_UP))
    if ratio >= CALM_PACE and value < wanted:
        return value * LIMIT_UP
    if expected is not None and value > wanted > step.in_flight:
        return max(value * LIMIT_DOWN, wanted)
    return value


class InFlightLimit:
    """How many requests may be in flight on one model, from the intent's pace and the measured pace.

    Never from the planner's own constants: a planner three times too optimistic would then hold a
    queue in front of an idle backend (`reference/control.md`, finding 4).
    """

    __slots__ = ("_ceiling", "_good", "_value")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = max(ceiling, LIMIT_MIN)
        self._value = float(self._ceiling)
        self._good: deque[int] = deque(maxlen=GOOD_MEMORY_TICKS)

    @property
    def value(self) -> int:
        """Return the limit as a whole number."""
        return int(self._value)

    @property
    def ceiling(self) -> int:
        """Return the most that the limit may be."""
        return self._ceiling

    def tick(
        self, in_flight: int, tpot_s: float | None, tpot_target_s: float | None, expected: float | None = None
    ) -> LimitStep:
        """Move the limit by one tick; return what it was moved by."""
        if tpot_s is not None and tpot_target_s is not None and tpot_s > 0.0:
            self._good.append(in_flight if tpot_target_s >= tpot_s else 0)
        good = max(self._good, default=0)
        step = LimitStep(self._value, self._ceiling, in_flight, tpot_s, tpot_target_s, expected, good)
        self._value = limit_after(step)
        return step

    def restore(self, value: int) -> None:
        """Set the limit back, as a roll-back does."""
        self._value = float(min(max(value, LIMIT_MIN), self._ceiling))


@dataclass(frozen=True, slots=True)
class BudgetStep:
    """Everything that one move of a budget price is made from; rates in micro-dollars per second."""

    before: float
    pace_before: float
    spend_rate: float
    allowed_rate: float
    dt_s: float
    value_mean: float
    cost_mean: float


def budget_after(step: BudgetStep) -> tuple[float, float]:
    """Return the budget price after a step, and the smoothed pace of spending."""
    now = step.spend_rate / step.allowed_rate if step.allowed_rate > 0.0 else math.inf
    pace = step.pace_before + BUDGET_EMA * (min(now, 4.0) - step.pace_before)
    unit = step.value_mean / max(step.cost_mean, 1e-6)
    move = BUDGET_GAIN * unit * (pace - BUDGET_SET_POINT)
    return min(max(step.before + move * step.dt_s, 0.0), BUDGET_PRICE_MAX * unit), pace


class BudgetPrice:
    """The price of a micro-dollar for one intent: keeps its spending on the pace of its budget."""

    __slots__ = ("_pace", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._pace = BUDGET_SET_POINT

    def tick(
        self, spend_rate: float, allowed_rate: float, dt_s: float, value_mean: float, cost_mean: float
    ) -> BudgetStep:
        """Move the price by one tick; return what it was moved by."""
        step = BudgetStep(self.value, self._pace, spend_rate, allowed_rate, dt_s, value_mean, cost_mean)
        self.value, self._pace = budget_after(step)
        return step
