"""`controller.evaluate.score`: the definitions, on runs made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.evaluate.run import Result, Served
from controller.evaluate.score import (
    budget_errors,
    jain,
    needless_harm,
    recovery_s,
    reversals,
    score,
    settling_s,
)
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S, Job
from controller.evaluate.world import KINDS, LARGE, MID
from controller.intent import Budget


def served(at_s: float, model: str = LARGE, *, ok: bool = True, kind: int = 1, tenant: str = "t") -> Served:
    """Return a request that was served in time, or shed."""
    job = Job(f"j{at_s}", at_s, KINDS[kind], 100, 100, tenant, 0.5)
    if not ok:
        return Served(job, status="shed")
    return Served(job, "complete", model, None, at_s, at_s + 0.1, at_s + 1.0, 100, 50.0, 1)


def every(
    start_s: float, end_s: float, model: str = LARGE, *, ok: bool = True, step_s: float = 0.1
) -> list[Served]:
    """Return a request every tenth of a second."""
    count = int((end_s - start_s) / step_s)
    return [served(start_s + index * step_s, model, ok=ok) for index in range(count)]


def test_attainment_counts_what_was_offered() -> None:
    """Shed requests are misses, and lower quality lowers the utility."""
    spike = every(100, 145) + every(145, 190, ok=False)
    window = score(Result("s", 1, "p", spike)).windows["spike"]
    assert window.attainment == pytest.approx(0.5)
    assert window.utility == pytest.approx(0.5)
    assert window.shed == pytest.approx(0.5)
    degraded = score(Result("s", 1, "p", every(100, 190, MID))).windows["spike"]
    assert (degraded.attainment, degraded.downgraded) == (1.0, 1.0)
    assert degraded.utility == pytest.approx(0.80 / 0.92)


def test_a_late_answer_is_a_miss() -> None:
    """Completion alone is not attainment."""
    late = served(100.0)
    late.first_s = 102.5
    assert not late.met
    assert served(100.0).met


def test_settling_is_the_first_time_that_lasts() -> None:
    """Ten bad seconds after the step settle at ten; never is infinite."""
    run = every(SPIKE_START_S, SPIKE_START_S + 10, ok=False) + every(SPIKE_START_S + 10, SPIKE_END_S)
    assert settling_s(run) == pytest.approx(10.0, abs=1.0)
    assert settling_s(every(SPIKE_START_S, SPIKE_END_S)) == 0.0
    assert math.isinf(settling_s(every(SPIKE_START_S, SPIKE_END_S, ok=False)))


def test_recovery_is_when_quality_is_back() -> None:
    """Thirty seconds on the mid model after the spike recover at thirty."""
    run = every(SPIKE_END_S, SPIKE_END_S + 30, MID) + every(SPIKE_END_S + 30, 300)
    assert recovery_s(run) == pytest.approx(30.0, abs=1.5)


def test_a_flapping_mix_reverses() -> None:
    """Ten seconds large, ten seconds mid: six changes of direction a minute; a steady mix has none."""
    run: list[Served] = []
    for index in range(8):
        run += every(100 + 10 * index, 110 + 10 * index, (LARGE, MID)[index % 2])
    assert reversals(run, 100, 180) == pytest.approx(5.2, abs=1.0)
    assert reversals(every(100, 180, MID), 100, 180) == 0.0


def test_harm_is_counted_only_where_passing_was_good() -> None:
    """A downgrade in a cell that pass-through would have met is needless; in another it is not."""
    passing = Result("s", 1, "none", every(20, 30) + every(30, 40, ok=False))
    ours = Result("s", 1, "controlled", every(20, 30, MID) + every(30, 40, MID))
    quality, attainment = needless_harm(ours, passing)
    assert quality == pytest.approx(0.12)
    assert attainment == 0.0


def test_jain_is_one_when_even_and_falls_with_unfairness() -> None:
    """Two tenants, both served: 1; one of them shed: a half."""
    both = [served(100, tenant="a"), served(101, tenant="b")]
    one = [served(100, tenant="a"), served(101, ok=False, tenant="b")]
    assert jain(both) == pytest.approx(1.0)
    assert jain(one) == pytest.approx(0.5)


def test_a_budget_is_judged_by_whole_periods_and_by_what_was_asked_for() -> None:
    """Over is over its budget; under is under what it could have spent, so quiet periods are no fault."""
    budgeted = replace(KINDS[1], intent=replace(KINDS[1].intent, budget=Budget(100e-6, 100.0)))

    def spent(at_s: float, uusd: float) -> Served:
        item = served(at_s)
        return replace(item, job=replace(item.job, kind=budgeted), cost_uusd=uusd)

    passing = Result("s", 1, "none", [spent(0, 400.0), spent(150, 60.0), spent(250, 400.0)])
    ours = Result("s", 1, "controlled", [spent(0, 110.0), spent(150, 60.0), spent(250, 70.0)])
    assert budget_errors(ours, passing) == pytest.approx((0.1, 0.0, -0.3))
    assert budget_errors(Result("s", 1, "p", every(0, 10)), passing) == ()
