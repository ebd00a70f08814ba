"""The values of a comparison: targets, windows, budgets, percentiles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.evaluate.arms.data import Service, Spans, percentile, within
from tests.kit.arms import BATCH, PREMIUM, arm, comparison, offered


@pytest.mark.parametrize(
    ("ttft_s", "e2e_s", "met"),
    [(1.0, 5.0, True), (1.01, 5.0, False), (1.0, 5.01, False), (None, 5.0, False), (1.0, None, False)],
)
def test_all_targets_must_be_met(ttft_s: float | None, e2e_s: float | None, met: bool) -> None:
    """A latency at its target meets it; one that never came does not."""
    assert PREMIUM.meets(ttft_s, e2e_s) is met


def test_a_target_that_is_not_there_is_met() -> None:
    """A class without a target for the whole answer does not look at it."""
    assert BATCH.meets(3.0, None)
    assert Service("free", None, None, ()).meets(None, None)


def test_windows_share_no_instant() -> None:
    """The three parts follow each other and make up the whole."""
    windows = Spans(15.0, 20.0, 25.0).windows()
    assert windows == {"before": (0, 15), "spike": (15, 35), "after": (35, 60), "all": (0, 60)}
    items = [offered(index, float(index)) for index in range(60)]
    parts = [within(items, windows[name]) for name in ("before", "spike", "after")]
    assert [len(part) for part in parts] == [15, 20, 25]


def test_budgets_add_up() -> None:
    """The budget of a comparison is the sum of those of its classes; without any there is none."""
    assert comparison(arm("a")).usd_per_hour == 10.0
    assert comparison(arm("a"), services=(Service("free", None, None, ()),)).usd_per_hour is None


def test_arms_and_classes_by_name() -> None:
    """What is not there is None, or a KeyError where it must be there."""
    run = comparison(arm("none"), arm("controlled"))
    assert run.arm("controlled") is run.arms[1]
    assert run.arm("other") is None
    assert run.service("batch") is BATCH
    with pytest.raises(KeyError):
        run.service("other")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_least_value_that_covers_its_share(values: list[float], share: float) -> None:
    """Nearest rank: enough values lie at or below it, and fewer below any lesser one."""
    found = percentile(values, share)
    covered = sum(value <= found for value in values)
    below = sum(value < found for value in values)
    assert covered >= share * len(values) - 1e-6
    assert below < share * len(values) + 1e-6


def test_a_percentile_of_nothing_is_unknown() -> None:
    """And one that reaches into the unanswered is infinite."""
    assert math.isnan(percentile([], 0.5))
    assert percentile([1.0, math.inf], 0.95) == math.inf
    assert percentile([1.0, math.inf], 0.5) == 1.0
