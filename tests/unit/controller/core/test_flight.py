"""`controller.core.flight`: what is reserved for a request, and the pace that its intent declares."""

from __future__ import annotations

import pytest

from controller.core.flight import pace_s, reserved_uusd
from controller.intent import Budget, Latency
from controller.plan import make_plan
from tests.kit.control import intent, request, snapshot


def test_the_declared_pace() -> None:
    """What the targets leave for each token of a long answer; the stricter of the two; None without any."""
    both = intent(latency=Latency(ttft_ms=2000.0, e2e_ms=20_000.0, tpot_ms=50.0))
    assert pace_s(both, 600.0) == pytest.approx(0.03)
    assert pace_s(both, 100.0) == pytest.approx(0.05)
    assert pace_s(intent(latency=Latency(ttft_ms=100.0)), 100.0) is None


def test_a_hard_budget_reserves_what_nine_in_ten_stay_under() -> None:
    """A soft one counts what is expected, so that its pace is not overstated."""
    soft = request(intent(budget=Budget(1.0, 60.0)))
    hard = request(intent(budget=Budget(1.0, 60.0, hard=True)))
    plan = make_plan(soft, snapshot())
    assert plan.reserve_uusd > plan.prediction.cost_uusd
    assert reserved_uusd(soft, plan) == plan.prediction.cost_uusd
    assert reserved_uusd(hard, plan) == plan.reserve_uusd
