"""`controller.core.account`: the books of an intent."""

from __future__ import annotations

import pytest

from controller.core.account import BURN_MAX, Account, Condition, account_after
from controller.intent import Budget, Latency
from tests.kit.control import intent


def filled(good: int, bad: int) -> Account:
    """Return books with so many requests within the last seconds."""
    account = Account(intent(latency=Latency(ttft_ms=500.0, target=0.9)))
    for index in range(good + bad):
        account.settled(met=index < good, now_s=index * 0.05)
    return account


@pytest.mark.parametrize(
    ("good", "bad", "condition"),
    [
        (19, 0, Condition.UNKNOWN),
        (100, 0, Condition.MET),
        (92, 8, Condition.AT_RISK),
        (80, 20, Condition.VIOLATED),
    ],
)
def test_conditions(good: int, bad: int, condition: Condition) -> None:
    """Met, at risk below a quarter of the error budget, violated beyond it, unknown with too few."""
    report = filled(good, bad).report(5.0)
    assert report.condition is condition
    assert report.reason


def test_a_class_that_misses_is_worth_more_slowly_and_boundedly() -> None:
    """Burn lifts the weight towards its maximum with a time constant of seconds."""
    account = filled(50, 50)
    account.tick(0.5, 5.0)
    first = account.state.burn
    for _ in range(100):
        account.tick(0.5, 5.0)
    last = account.state.burn
    assert 1.0 < first < 1.1
    assert last == pytest.approx(BURN_MAX, rel=0.01)


def test_a_period_ends_and_the_next_begins_empty() -> None:
    """What was spent in one period does not count in the next."""
    account = Account(intent(budget=Budget(1.0, 60.0, hard=True)))
    account.spent(900_000, 0.0)
    account.hold(50_000)
    assert account.hard_left_uusd(1.0) == 50_000
    account.hold(-50_000)
    assert account.hard_left_uusd(1.0) == 100_000
    assert account.hard_left_uusd(61.0) == 1_000_000


def test_only_a_hard_budget_holds_back() -> None:
    """A soft one moves a price, and has nothing that a plan must stay below."""
    account = Account(intent(budget=Budget(1.0, 60.0)))
    account.spent(900_000, 0.0)
    assert account.hard_left_uusd(1.0) is None


def test_a_step_leads_to_the_state_that_was_kept() -> None:
    """What a tick moved by, and where it came from: together they give the state again."""
    account = Account(intent(budget=Budget(0.1, 60.0)))
    account.planned(2.0, 900, 0.5)
    for index in range(60):
        account.spent(4000, index * 0.1)
        account.settled(met=index % 2 == 0, now_s=index * 0.1)
    before = account.state
    step = account.tick(0.5, 6.0)
    assert (step.burn_before, step.price_before) == (before.burn, before.cost_price)
    assert account_after(step) == account.state
    assert account.state.cost_price > before.cost_price
    assert account.state.burn > before.burn


def test_overspending_is_a_violation() -> None:
    """More than the budget within the period, whatever the attainment."""
    account = Account(intent(budget=Budget(0.5, 60.0)))
    account.spent(600_000, 0.0)
    for index in range(30):
        account.settled(met=True, now_s=1.0 + index / 10)
    report = account.report(5.0)
    assert (report.condition, report.spend_usd) == (Condition.VIOLATED, 0.6)
