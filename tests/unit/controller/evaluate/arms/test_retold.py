"""A scenario retold: the policies asked for, on one seed, with the scenario's own windows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.evaluate.arms.data import Spans
from controller.evaluate.arms.retold import comparison, spans_of
from controller.evaluate.scenarios import SCENARIOS

SHORT = replace(SCENARIOS["spike4"], end_s=105.0, base_rps=1.0)


def test_windows_are_the_scenarios() -> None:
    """A hundred seconds, ninety, the rest; a run that ends early has shorter ones, never negative ones."""
    assert spans_of(SCENARIOS["spike4"]) == Spans(100.0, 90.0, 110.0)
    assert spans_of(SHORT) == Spans(100.0, 5.0, 0.0)
    assert spans_of(replace(SHORT, end_s=50.0)) == Spans(50.0, 0.0, 0.0)


def test_arms_come_in_order_on_one_load() -> None:
    """Each policy meets the same arrivals, and says what it is."""
    run = comparison(SHORT, ("none", "no_caps", "controlled"), 3, None)
    assert [arm.name for arm in run.arms] == ["none", "no_caps", "controlled"]
    assert len({tuple(one.at_s for one in arm.offered) for arm in run.arms}) == 1
    assert run.how == "virtual"
    assert run.facts["seed"] == "3"
    assert {service.name for service in run.services} == {"premium", "standard", "batch"}


def test_an_unknown_policy_is_an_error() -> None:
    """It is not left out in silence."""
    with pytest.raises(ValueError, match="no policy 'other'"):
        comparison(SHORT, ("other",), 1, None)
