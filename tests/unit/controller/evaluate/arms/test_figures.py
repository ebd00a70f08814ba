"""Figures: shares of what was offered, misses as infinite latency, windows by due time."""

from __future__ import annotations

import math

from controller.evaluate.arms import figures
from controller.evaluate.arms.data import Called
from tests.kit.arms import PREMIUM, SPANS, arm, missed, offered

BUSY = arm(
    "x",
    offered(1, 1.0),
    offered(2, 12.0, service="batch", model="small", capped=True, cause="lat_price"),
    offered(3, 13.0, met=False, ttft_s=9.0, e2e_s=11.0),
    missed(4, 14.0),
    offered(5, 15.0, status="timeout", met=False, e2e_s=None),
    offered(6, 25.0),
)


def test_a_window_counts_what_was_due_in_it() -> None:
    """Four requests were due in the spike: one met its targets, one was late, one shed, one timed out."""
    found = figures.figures(BUSY, SPANS, "spike")
    assert (found.offered, found.attainment, found.refused, found.failed, found.capped) == (4, 0.25, 1, 1, 1)
    assert found.by_service == {"batch": 1.0, "premium": 0.0}
    assert found.goodput_rps == 0.1
    assert found.mix == {"large": 2 / 3, "small": 1 / 3}


def test_cost_is_of_the_window() -> None:
    """Three requests of 100 micro-dollars in ten seconds are 0.108 dollars an hour."""
    assert math.isclose(figures.figures(BUSY, SPANS, "spike").usd_per_hour, 0.108)


def test_what_was_never_answered_is_infinitely_late() -> None:
    """A percentile that reaches the shed request is infinite, and one that does not is not."""
    found = figures.figures(BUSY, SPANS, "spike")
    assert found.ttft_p95_s == math.inf
    assert found.ttft_p50_s == 0.5
    assert found.e2e_p95_s == math.inf


def test_nothing_offered_is_nothing_missed() -> None:
    """An arm without requests has figures, and no division by zero."""
    found = figures.figures(arm("empty"), SPANS)
    assert (found.offered, found.attainment, found.mix) == (0, 1.0, {})


def test_lag_is_of_requests_and_tool_actions() -> None:
    """The worst of either counts; without anything there is none."""
    one = arm("x", offered(1, 1.0, lag_s=0.01), called=(Called(1.0, 0.1, "TRUST", 0.2),))
    assert figures.lag_p99_s(one) == 0.2
    assert figures.lag_p99_s(arm("empty")) == 0.0


def test_causes_are_shares() -> None:
    """They sum to one, the unknown among them."""
    assert figures.causes(BUSY) == {"": 5 / 6, "lat_price": 1 / 6}


def test_series_have_a_point_a_second() -> None:
    """Each looks at the three seconds before it; silence is not a number, and not zero."""
    attained = figures.attained(BUSY, SPANS, "premium")
    assert len(attained) == 30
    assert attained[1] == 1.0
    assert math.isnan(attained[8])
    assert attained[13] == 0.0
    latencies = figures.latency(BUSY, SPANS, PREMIUM, "ttft", 0.95)
    assert latencies[14] == math.inf
    assert figures.arrivals(BUSY, SPANS)[12] == 1.0
    assert sum(figures.counted(BUSY, SPANS, lambda one: one.capped)) == 1.0
    assert figures.goodput(BUSY, SPANS)[12] == 1 / 3
    assert figures.usd_per_hour(BUSY, SPANS)[12] > 0
    assert figures.share_of(BUSY, SPANS, "small")[12] == 1.0
