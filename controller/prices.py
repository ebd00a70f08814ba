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
    capacity: float
    """Server-seconds served per second when there is enough work."""
    value_mean: float
    """Typical weight of the requests assigned here."""
    work_mean_s: float
    """Typical work of a request here."""


class CongestionPrice:
    """The price of a server-second of one model, in value."""

    __slots__ = ("_gain_up", "_recovery", "error", "value")

    def __init__(self, gain_up: float = GAIN_UP, recovery: float = RECOVERY) -> None:
        self._gain_up = gain_up
        self._recovery = recovery
        self.value = 0.0
        self.error = 0.0

    def tick(self, load: Load, dt_s: float, bias: Bias, *, frozen: bool = False) -> None:
        """Move the price by one tick. While `frozen` (a roll-back is in force) it may only fall."""
        capacity = max(load.capacity, 1e-6)
        demand = max(load.arrival_rate, load.burst_rate - BURST_EXCUSED * capacity)
        demand += load.queued_work_s / BACKLOG_S
        self.error = min(demand / capacity - SET_POINT[bias], ERROR_MAX)
        unit = load.value_mean / max(load.work_mean_s, 1e-6)
        gain = self._gain_up * unit
        if self.error > 0.0:
            step = 0.0 if frozen else gain * self.error
        else:
            step = gain * self.error * RECOVERY_SCALE[bias] / self._recovery
        self.value = min(max(self.value + step * dt_s, 0.0), PRICE_MAX * unit)

    def reset(self, value: float = 0.0) -> None:
        """Set the price back, as a roll-back or a trip of the guard does."""
        self.value = max(0.0, value)


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

    def tick(
        self, in_flight: int, tpot_s: float | None, tpot_target_s: float | None, expected: float | None = None
    ) -> None:
        """Move the limit by one tick; without a measurement or a target it stays.

        `expected` is where the learned pace meets the target. It only bounds headroom that nobody uses:
        requests that really are in flight at a good pace always move the limit up.
        """
        if tpot_s is None or tpot_target_s is None or tpot_s <= 0.0:
            return
        ratio = tpot_target_s / tpot_s
        self._good.append(in_flight if ratio >= 1.0 else 0)
        if ratio < 1.0:
            # shrink from what is really in flight: an unused ceiling is no starting point
            start = min(self._value, max(in_flight, LIMIT_MIN) * 1.1)
            factor = max(ratio ** (1.0 / DEAD_TIME_TICKS), LIMIT_DOWN)
            self._value = min(self._value, max(start * factor, self._floor()))
        elif in_flight >= LIMIT_USED * self._value:
            self._value *= min(ratio, LIMIT_UP)
        else:
            self._value = self._with_headroom(in_flight, ratio, expected)
        self._value = min(max(self._value, float(LIMIT_MIN)), float(self._ceiling))

    def _with_headroom(self, in_flight: int, ratio: float, expected: float | None) -> float:
        best = float(max(self._good))
        wanted = HEADROOM * best
        if expected is not None:
            wanted = min(wanted, max(EXPECTED_MARGIN * expected, in_flight / LIMIT_USED * LIMIT_UP))
        if ratio >= CALM_PACE and self._value < wanted:
            return self._value * LIMIT_UP
        if expected is not None and self._value > wanted > in_flight:
            return max(self._value * LIMIT_DOWN, wanted)
        return self._value

    def _floor(self) -> float:
        return float(max(LIMIT_MIN, max(self._good, default=0)))

    def restore(self, value: int) -> None:
        """Set the limit back, as a roll-back does."""
        self._value = float(min(max(value, LIMIT_MIN), self._ceiling))


class BudgetPrice:
    """The price of a micro-dollar for one intent: keeps its spending on the pace of its budget."""

    __slots__ = ("_pace", "value")

    def __init__(self) -> None:
        self.value = 0.0
        self._pace = BUDGET_SET_POINT

    def tick(
        self, spend_rate: float, allowed_rate: float, dt_s: float, value_mean: float, cost_mean: float
    ) -> None:
        """Move the price by one tick; rates in micro-dollars per second."""
        pace = spend_rate / allowed_rate if allowed_rate > 0.0 else math.inf
        self._pace += BUDGET_EMA * (min(pace, 4.0) - self._pace)
        unit = value_mean / max(cost_mean, 1e-6)
        step = BUDGET_GAIN * unit * (self._pace - BUDGET_SET_POINT)
        self.value = min(max(self.value + step * dt_s, 0.0), BUDGET_PRICE_MAX * unit)
