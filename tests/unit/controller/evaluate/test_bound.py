"""`controller.evaluate.bound`: the least work, and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.bound import bound, work_s
from controller.evaluate.scenarios import SCENARIOS
from controller.evaluate.workload import step
from controller.evaluate.world import LARGE, cluster_config


def test_work_is_the_least_that_the_step_model_charges() -> None:
    """1000 tokens in on the 70B: 65 ms of compute; a decode token costs under a quarter of one."""
    model = next(model for model in cluster_config().models if model.name == LARGE)
    prefill, whole = work_s(model, 1000, 101)
    assert prefill == pytest.approx(0.065)
    assert 0.005 < whole - prefill < 0.025
    double = work_s(replace(model, replicas=2), 1000, 101)
    assert double[1] == pytest.approx(whole / 2)


def test_more_load_leaves_a_lower_bound() -> None:
    """An unloaded system has a bound of 1; at twelve times the base it has not."""
    calm = bound(replace(SCENARIOS["calm"], end_s=120.0), 1)
    assert calm.utility == pytest.approx(1.0)
    heavy = bound(replace(SCENARIOS["spike4"], shape=step(12), end_s=112.0), 1)
    assert heavy.practical < heavy.utility < 0.97
