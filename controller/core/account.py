"""One intent's account: how many were good, what was spent, what was done to them, and what that prices.

Refused, expired and failed requests count as bad: shedding must not improve the score. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controller.intent import Budget, Intent
from controller.plan import Disposition, IntentState, Plan
from controller.prices import BudgetPrice, BudgetStep, budget_after
from controller.signals import Ewma, SlidingSum

BURN_FAST_S: Final = 10.0
BURN_SLOW_S: Final = 300.0
BURN_TAU_S: Final = 5.0
BURN_MIN: Final = 1.0
BURN_MAX: Final = 1.5
"""A class that misses its objective is worth up to half more. The design's 0.5 to 3 reversed the order of
classes whose weights differ by less than six, so that premium paid for standard."""
SPEND_WINDOW_S: Final = 20.0
SAMPLES_MIN: Final = 20
"""Fewer requests in the window than this: the condition is unknown."""
AT_RISK_BUDGET: Final = 0.25
"""Less than a quarter of the error budget left is a risk."""


class Condition(StrEnum):
    """The state of an intent, in the words of TMF921's intent reports."""

    MET = "Met"
    AT_RISK = "AtRisk"
    VIOLATED = "Violated"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class IntentReport:
    """One intent over its window."""

    intent: str
    requests: int
    good: int
    attainment: float | None
    error_budget_left: float | None
    """Share of the allowed misses that is left; negative when overspent."""
    spend_usd: float
    budget_usd: float | None
    downgraded: int
    capped: int
    queued: int
    shed: int
    expired: int
    failed: int
    condition: Condition
    reason: str


@dataclass(frozen=True, slots=True)
class AccountStep:
    """Everything that one move of an intent's weight and budget price is made from; a ledger can hold it."""

    intent: str
    burn_before: float
    allowed_misses: float
    """Share of requests that may miss: one less the objective."""
    fast: tuple[int, int]
    """Misses and requests over the last ten seconds."""
    slow: tuple[int, int]
    """And over the last five minutes."""
    dt_s: float
    price_before: float
    budget: BudgetStep | None
    """None where there is no budget, or no cost is known yet."""


def account_after(step: AccountStep) -> IntentState:
    """Return an intent's state after a step."""
    burns = [
        bad / total / step.allowed_misses for bad, total in (step.fast, step.slow) if total >= SAMPLES_MIN
    ]
    wanted = min(max(min(burns), BURN_MIN), BURN_MAX) if len(burns) == 2 else 1.0
    burn = step.burn_before + (1.0 - math.exp(-step.dt_s / BURN_TAU_S)) * (wanted - step.burn_before)
    price = step.price_before if step.budget is None else budget_after(step.budget)[0]
    return IntentState(step.intent, burn, price)


class Account:
    """The books of one intent."""

    __slots__ = (
        "_bad_fast", "_bad_slow", "_cost_mean", "_good", "_held_uusd", "_period_start_s", "_period_uusd",
        "_price", "_spend", "_total", "_total_fast", "_total_slow", "_value_mean", "counts", "intent",
        "state",
    )  # fmt: skip

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        window_s = intent.latency.window_s
        self._good, self._total = SlidingSum(window_s, 60), SlidingSum(window_s, 60)
        self._bad_fast, self._total_fast = SlidingSum(BURN_FAST_S), SlidingSum(BURN_FAST_S)
        self._bad_slow, self._total_slow = SlidingSum(BURN_SLOW_S), SlidingSum(BURN_SLOW_S)
        self.state = IntentState(intent.name, 1.0, 0.0)
        self._held_uusd = 0
        self._spend = SlidingSum(SPEND_WINDOW_S)
        self._price = BudgetPrice()
        self._cost_mean = Ewma(30.0)
        self._value_mean = Ewma(30.0)
        self._period_start_s: float | None = None
        self._period_uusd = 0
        self.counts = dict.fromkeys(("downgraded", "capped", "queued", "shed", "expired", "failed"), 0)

    def settled(self, *, met: bool, now_s: float) -> None:
        """Count a request whose fate is known."""
        for window in (self._total, self._total_fast, self._total_slow):
            window.add(1, now_s)
        if met:
            self._good.add(1, now_s)
        else:
            self._bad_fast.add(1, now_s)
            self._bad_slow.add(1, now_s)

    def planned(self, value: float, cost_uusd: int, now_s: float) -> None:
        """Note what a typical request is worth and costs."""
        self._value_mean.add(value, now_s)
        self._cost_mean.add(float(cost_uusd), now_s)

    def acted(self, plan: Plan) -> None:
        """Count what a plan does to its request."""
        if plan.options:
            asked = plan.options[0]
            self.counts["downgraded"] += plan.model != asked.model
            self.counts["capped"] += plan.max_tokens != asked.max_tokens
        self.counts["queued"] += plan.disposition is not Disposition.PASS

    def spent(self, uusd: int, now_s: float) -> None:
        """Count money: the reservation when a request is sent, the difference when it is settled."""
        self._roll(now_s)
        self._spend.add(uusd, now_s)
        self._period_uusd += uusd

    def hold(self, uusd: int) -> None:
        """Reserve money for a request that waits; a negative amount gives it back."""
        self._held_uusd += uusd

    def hard_left_uusd(self, now_s: float) -> int | None:
        """Return what a hard budget still holds at this instant, reservations taken off; None without one."""
        budget = self.intent.budget
        if budget is None or not budget.hard:
            return None
        self._roll(now_s)
        return max(0, math.floor(budget.usd * 1e6) - self._period_uusd - self._held_uusd)

    def tick(self, dt_s: float, now_s: float) -> AccountStep:
        """Move weight and budget price by one tick; return what they were moved by, and keep the state."""
        budget = None if self.intent.budget is None else self._move_price(self.intent.budget, dt_s, now_s)
        step = AccountStep(
            intent=self.intent.name,
            burn_before=self.state.burn,
            allowed_misses=1.0 - self.intent.latency.target,
            fast=(self._bad_fast.total(now_s), self._total_fast.total(now_s)),
            slow=(self._bad_slow.total(now_s), self._total_slow.total(now_s)),
            dt_s=dt_s,
            price_before=self.state.cost_price,
            budget=budget,
        )
        self.state = account_after(step)
        return step

    def miss_share(self, now_s: float) -> tuple[int, int]:
        """Return misses and requests over the last ten seconds."""
        return self._bad_fast.total(now_s), self._total_fast.total(now_s)

    def report(self, now_s: float) -> IntentReport:
        """Return the intent's report over its window."""
        total, good = self._total.total(now_s), self._good.total(now_s)
        attainment = good / total if total else None
        allowed = 1.0 - self.intent.latency.target
        left = None if attainment is None else 1.0 - (1.0 - attainment) / allowed
        condition, reason = self._condition(total, attainment, left)
        budget = self.intent.budget
        return IntentReport(
            intent=self.intent.name,
            requests=total,
            good=good,
            attainment=attainment,
            error_budget_left=left,
            spend_usd=self._period_uusd / 1e6,
            budget_usd=None if budget is None else budget.usd,
            condition=condition,
            reason=reason,
            **self.counts,
        )

    def _condition(self, total: int, attainment: float | None, left: float | None) -> tuple[Condition, str]:
        target = self.intent.latency.target
        if total < SAMPLES_MIN or attainment is None or left is None:
            return Condition.UNKNOWN, f"{total} requests in the window: too few to say"
        budget = self.intent.budget
        if budget is not None and self._period_uusd > budget.usd * 1e6:
            return Condition.VIOLATED, f"spent {self._period_uusd / 1e6:.2f} of {budget.usd:.2f} dollars"
        if left < 0.0:
            return Condition.VIOLATED, f"attainment {attainment:.3f} is below {target:.3f}"
        if left < AT_RISK_BUDGET:
            return Condition.AT_RISK, f"{left:.0%} of the error budget is left"
        return Condition.MET, f"attainment {attainment:.3f} of {target:.3f}"

    def _move_price(self, budget: Budget, dt_s: float, now_s: float) -> BudgetStep | None:
        self._roll(now_s)
        if not self._cost_mean.count:
            return None
        start_s = now_s if self._period_start_s is None else self._period_start_s
        left_s = max(start_s + budget.window_s - now_s, dt_s)
        left_uusd = max(0.0, budget.usd * 1e6 - self._period_uusd)
        rate = self._spend.total(now_s) / min(SPEND_WINDOW_S, max(now_s - start_s, 1.0))
        values = (self._value_mean.value, self._cost_mean.value)
        return self._price.tick(rate, left_uusd / left_s, dt_s, *values)

    def _roll(self, now_s: float) -> None:
        if self._period_start_s is None:
            self._period_start_s = now_s
        budget = self.intent.budget
        if budget is not None and now_s >= self._period_start_s + budget.window_s:
            periods = math.floor((now_s - self._period_start_s) / budget.window_s)
            self._period_start_s += periods * budget.window_s
            self._period_uusd = 0


def renewed(kept: Mapping[str, Account], intents: Iterable[Intent]) -> dict[str, Account]:
    """Return the accounts of a new set of intents; those of unchanged ones go on."""
    accounts: dict[str, Account] = {}
    for intent in intents:
        old = kept.get(intent.name)
        accounts[intent.name] = old if old is not None and old.intent == intent else Account(intent)
    return accounts
