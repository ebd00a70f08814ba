"""`controller.evaluate.bars`: the acceptance bars are counted per seed and never rounded in our favour."""

from __future__ import annotations

import math

from controller.evaluate.bars import bar_lines, bars_of
from controller.evaluate.bound import Bound
from controller.evaluate.figures import Figures
from tests.unit.controller.evaluate.test_figures import run


def reached(scenario: str, runs: list[Figures], bounds: tuple[Bound, ...] = ()) -> dict[str, int]:
    """Return how many seeds reached each bar."""
    return {bar.asks: bar.reached for bar in bars_of(scenario, runs, bounds)}


def test_a_bar_is_counted_in_every_seed() -> None:
    """Exactly at the bar is reached, just beyond it is not, and other policies do not count."""
    runs = [
        run(seed=1, attainment=0.97, reversals=4.0, recovery_s=60.0, harm_quality=0.005),
        run(seed=2, attainment=0.9699, reversals=4.1, recovery_s=math.inf, harm_quality=0.0051),
        run("none", 1, attainment=0.0),
    ]
    counted = reached("spike4", runs)
    assert counted["attainment >= 0.97"] == 1
    assert counted["at most 4 reversals a minute"] == 1
    assert counted["preferred quality back within 60 s"] == 1
    assert counted["needless quality loss <= 0.005"] == 1
    [bar] = [bar for bar in bars_of("spike4", runs) if bar.asks == "attainment >= 0.97"]
    assert (bar.seeds, bar.worst, bar.met) == (2, 0.9699, False)


def test_what_is_unknown_is_not_counted() -> None:
    """Without a twin there is no needless harm to count."""
    assert "needless quality loss <= 0.005" not in reached("spike4", [run(harm_quality=None)])


def test_utility_is_held_against_its_own_seeds_bound() -> None:
    """Nine tenths of the practical bound, seed by seed; not at all where a bound is missing."""
    runs = [run(seed=2, utility=0.7), run(seed=1, utility=0.9)]
    bounds = (Bound(1.0, 1.0, 1), Bound(0.8, 0.7, 1))
    asks = "utility >= 0.90 of the practical bound"
    assert reached("spike6", runs, bounds)[asks] == 2
    assert asks not in reached("spike6", runs, bounds[:1])


def test_budget_periods_and_scenarios_without_bars() -> None:
    """Over by more than 2 % or under by more than 8 % is a miss; most workloads have no bars."""
    counted = reached("budget", [run(budget_low=-0.09, budget_high=0.02)])
    assert counted == {"no budget period above +2 %": 1, "no budget period below -8 %": 0}
    assert bars_of("ramp6", [run()]) == ()


def test_lines_say_what_was_missed_and_by_how_much() -> None:
    """One line a bar, the worst value beside it."""
    lines = bar_lines(bars_of("budget", [run(budget_low=-0.32, budget_high=0.0)])).splitlines()
    assert lines[0].startswith("reached  no budget period above +2 %: 1 of 1 seeds")
    assert lines[1] == "missed   no budget period below -8 %: 0 of 1 seeds, worst -0.32"
