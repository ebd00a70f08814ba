"""`controller.evaluate.series`: a run over time."""

from __future__ import annotations

from dataclasses import replace

from controller.evaluate.policy import Controlled
from controller.evaluate.run import Runner
from controller.evaluate.scenarios import SCENARIOS, make_policy
from controller.evaluate.series import mean_series, series_of
from controller.evaluate.world import LADDER, cluster_config

TINY = replace(SCENARIOS["base"], end_s=20.0)


def test_points_follow_the_requests_of_the_last_seconds() -> None:
    """A second without arrivals still sees the four before it; beyond the run nothing is known."""
    result = Runner(TINY, 1, make_policy("none", TINY), cluster_config()).run()
    series = series_of(result)
    cell = [item for item in result.served if 5 <= item.job.at_s < 10]
    assert series.attainment[9] == round(sum(item.met for item in cell) / len(cell), 4)
    spent = sum(item.cost_uusd for item in cell) / 5 * 3600 / 1e6
    assert series.usd_per_hour[9] == round(spent, 2)
    assert series.attainment[200] is None
    assert series.quality[9] == 0.92
    assert len(series.attainment) == len(series.premium) == 300
    assert series.prices == {}


def test_a_controlled_run_shows_prices_and_limits() -> None:
    """One value a second for each model."""
    policy = make_policy("controlled", TINY)
    assert isinstance(policy, Controlled)
    result = Runner(TINY, 1, policy, cluster_config()).run()
    series = series_of(result, policy.ticks)
    assert set(series.prices) == set(series.limits) == set(LADDER)
    by_second = [tick.state for tick in policy.ticks if tick.state.at_s == 7.0]
    assert series.limits[LADDER[0]][6] == by_second[0].models[0].limit


def test_means_leave_out_what_is_unknown() -> None:
    """A point is the mean of the runs that have one."""
    assert mean_series([(0.5, None, None), (1.0, 0.25, None)]) == (0.75, 0.25, None)
