"""`controller.signals`: windows, averages and counters."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.signals import (
    LENGTH_RANKS,
    UNKNOWN,
    Ewma,
    Lengths,
    LogHistogram,
    Rate,
    Reading,
    SlidingSum,
    WindowHistogram,
    interpolated,
)

values = st.lists(st.floats(1e-5, 1e5), min_size=1, max_size=60)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(values, st.floats(0, 1))
def test_quantiles_are_within_two_per_cent(sample: list[float], rank: float) -> None:
    """A log-histogram's quantile lies within a bucket's half-width of the exact one."""
    histogram = LogHistogram()
    for value in sample:
        histogram.add(value)
    exact = sorted(sample)[max(0, math.ceil(rank * len(sample)) - 1)]
    assert histogram.quantiles((rank,))[0] == pytest.approx(exact, rel=0.0201)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(values, values)
def test_merging_equals_counting_together(one: list[float], two: list[float]) -> None:
    """Two merged histograms hold what one histogram of both samples holds."""
    left, right, both = LogHistogram(), LogHistogram(), LogHistogram()
    for value in one:
        left.add(value)
        both.add(value)
    for value in two:
        right.add(value)
        both.add(value)
    left.merge(right)
    assert (left.buckets, left.count) == (both.buckets, both.count)


def test_what_is_not_a_number_is_not_counted() -> None:
    """NaN and infinities are no measurements."""
    histogram, average = LogHistogram(), Ewma(1.0)
    for value in (math.nan, math.inf, -math.inf):
        histogram.add(value)
        average.add(value, 0.0)
    assert histogram.count == 0
    assert math.isnan(histogram.quantiles((0.5,))[0])
    assert average.reading(0.0) == UNKNOWN


def test_a_window_forgets() -> None:
    """Values older than the window are gone, and a thin or old reading is unknown, not zero."""
    window = WindowHistogram(10)
    for index in range(20):
        window.add(1.0 if index < 10 else 5.0, index / 2)
    assert window.quantile(0.9, 9.5).value == pytest.approx(5.0, rel=0.02)
    assert window.quantile(0.5, 9.5).known
    assert not window.quantile(0.5, 30.0).known
    window.add(2.0, 40.0)
    late = window.quantile(0.5, 40.0)
    assert (late.count, late.known) == (1, False)


@pytest.mark.parametrize(
    ("reading", "known"),
    [
        (Reading(1.0, 10, 5.0), True),
        (Reading(1.0, 9, 0.0), False),
        (Reading(1.0, 99, 5.1), False),
        (Reading(math.nan, 99, 0.0), False),
        (UNKNOWN, False),
    ],
)
def test_a_reading_is_known_if_many_fresh_and_finite(reading: Reading, known: bool) -> None:
    """Ten samples, five seconds, a finite value."""
    assert reading.known is known


def test_an_ewma_forgets_with_its_time_constant() -> None:
    """After one time constant 63 % of a step is taken up."""
    average = Ewma(2.0)
    average.add(0.0, 0.0)
    average.add(1.0, 2.0)
    assert average.value == pytest.approx(1.0 - math.exp(-1.0))


def test_a_rate_counts_per_second_and_decays() -> None:
    """Ten a second, for long, read as ten; after silence nothing is left."""
    rate = Rate(1.0)
    for index in range(200):
        rate.add(1.0, index / 10)
    assert rate.value(19.95) == pytest.approx(10.0, rel=0.06)
    assert rate.value(40.0) < 1e-6
    assert Rate(1.0).value(5.0) == 0.0


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.integers(-9, 9)), max_size=50))
def test_a_sliding_sum_is_exact_for_its_slots(script: list[tuple[float, int]]) -> None:
    """The sum over a window equals the sum of what fell into its slots."""
    window = SlidingSum(10.0, 5)
    now_s, log = 0.0, []
    for gap_s, amount in script:
        now_s += gap_s
        window.add(amount, now_s)
        log.append((math.floor(now_s / 2.0), amount))
        first = math.floor(now_s / 2.0) - 4
        assert window.total(now_s) == sum(value for slot, value in log if slot >= first)


def test_lengths_fall_back_until_they_have_seen_enough() -> None:
    """A new route answers as all routes do; with 30 answers it has a table of its own, near the truth."""
    prior = tuple(100.0 for _ in LENGTH_RANKS)
    everything = Lengths(prior)
    route = Lengths((), everything)
    assert route.table() == prior
    rng = random.Random(1)
    for _ in range(600):
        route.add(rng.randint(200, 400))
    table = route.table()
    assert table[len(table) // 2] == pytest.approx(300, rel=0.1)
    assert list(table) == sorted(table)


def test_lengths_follow_a_change() -> None:
    """After a thousand other answers the old ones weigh less than a fifth."""
    lengths = Lengths(tuple(1.0 for _ in LENGTH_RANKS))
    for _ in range(1000):
        lengths.add(100)
    for _ in range(1000):
        lengths.add(1000)
    assert lengths.table()[5] > 900


def test_interpolation_is_linear_between_points() -> None:
    """Half way between two ranks lies half way between their values."""
    assert interpolated(0.25, (0.0, 0.5, 1.0), (0.0, 10.0, 20.0)) == 5.0
    assert interpolated(2.0, (0.0, 0.5, 1.0), (0.0, 10.0, 20.0)) == 20.0
