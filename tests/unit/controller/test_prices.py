"""`controller.prices`: congestion prices, in-flight limits, budget prices."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.intent import Bias
from controller.prices import (
    PRICE_MAX,
    BudgetPrice,
    CongestionPrice,
    InFlightLimit,
    LimitStep,
    Load,
    limit_after,
)


def load(rate: float, queued: float = 0.0) -> Load:
    """Return a load on a backend of capacity 1."""
    return Load(rate, rate, queued, 1.0, 2.0, 0.2)


def test_a_price_attacks_faster_than_it_recovers() -> None:
    """One tick of excess takes twelve and a half ticks of equal slack to undo."""
    price = CongestionPrice()
    price.tick(load(0.92 + 0.4), 0.5, Bias.BALANCED)
    peak = price.value
    price.tick(load(0.92 - 0.4), 0.5, Bias.BALANCED)
    assert peak > 0.0
    assert peak - price.value == pytest.approx(peak * 0.4 / 5, rel=1e-6)


def test_there_is_no_price_without_pressure() -> None:
    """At the set point or below the price is zero and stays there."""
    price = CongestionPrice()
    for _ in range(100):
        price.tick(load(0.9), 0.5, Bias.BALANCED)
    assert price.value == 0.0


def test_a_waiting_queue_is_load() -> None:
    """Work that waits raises the price although nothing arrives."""
    price = CongestionPrice()
    price.tick(load(0.0, queued=6.0), 0.5, Bias.BALANCED)
    assert price.value > 0.0


def test_a_wave_of_arrivals_within_the_noise_is_excused() -> None:
    """A second of half a backend too much is chance; a second of two backends is a spike."""
    wave, spike = CongestionPrice(), CongestionPrice()
    wave.tick(Load(0.7, 1.3, 0.0, 1.0, 2.0, 0.2), 0.5, Bias.BALANCED)
    spike.tick(Load(0.7, 2.7, 0.0, 1.0, 2.0, 0.2), 0.5, Bias.BALANCED)
    assert wave.value == 0.0
    assert spike.value > 0.0


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 500), st.floats(0.001, 5)), max_size=60))
def test_a_price_stays_in_its_bounds(loads: list[tuple[float, float, float]]) -> None:
    """Whatever the load, capacity and time step, the price is between zero and its maximum."""
    price = CongestionPrice()
    for rate, queued, capacity in loads:
        price.tick(Load(rate, rate, queued, capacity, 2.0, 0.2), 0.5, Bias.LATENCY)
        assert 0.0 <= price.value <= PRICE_MAX * 10.0 + 1e-9


def test_a_frozen_price_may_only_fall() -> None:
    """After a roll-back, excess does not raise the price and slack lowers it."""
    price = CongestionPrice()
    price.tick(load(3.0), 0.5, Bias.BALANCED)
    peak = price.value
    price.tick(load(3.0), 0.5, Bias.BALANCED, frozen=True)
    assert price.value == peak
    price.tick(load(0.1), 0.5, Bias.BALANCED, frozen=True)
    assert price.value < peak


def test_the_bias_moves_the_set_point() -> None:
    """At a load of 0.9 the latency bias raises a price and the quality bias does not."""
    eager, patient = CongestionPrice(), CongestionPrice()
    eager.tick(load(0.9), 0.5, Bias.LATENCY)
    patient.tick(load(0.9), 0.5, Bias.QUALITY)
    assert eager.value > 0.0
    assert patient.value == 0.0


def test_a_limit_shrinks_from_what_is_in_flight() -> None:
    """Too slow a pace at 40 in flight under a limit of 128: from 44 down, an eighth of the excess a tick."""
    limit = InFlightLimit(128)
    limit.tick(40, 0.060, 0.040)
    assert limit.value == pytest.approx(44 * 0.95, abs=1)
    before = limit.value
    limit.tick(40, 0.060, 0.040)
    assert before * 0.89 <= limit.value < before


def test_a_limit_stays_without_a_measurement() -> None:
    """Unknown pace or target: nothing moves."""
    limit = InFlightLimit(128)
    limit.tick(100, None, 0.04)
    limit.tick(100, 0.2, None)
    assert limit.value == 128


def test_a_used_limit_grows_while_the_pace_is_good() -> None:
    """A full limit at a good pace grows by at most 3 % a tick, whatever the learned line says."""
    limit = InFlightLimit(128)
    limit.restore(20)
    limit.tick(20, 0.02, 0.04, expected=5.0)
    assert limit.value == 20
    for _ in range(60):
        limit.tick(limit.value, 0.02, 0.04, expected=5.0)
    assert limit.value > 80


def test_unused_headroom_ends_where_the_learned_pace_meets_the_target() -> None:
    """With 10 in flight and a line that says 30, a limit of 128 comes down to about 33."""
    limit = InFlightLimit(128)
    for _ in range(60):
        limit.tick(10, 0.02, 0.04, expected=30.0)
    assert limit.value == pytest.approx(25, abs=9)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.floats(1e-4, 1.0), st.floats(1e-3, 0.2), st.floats(1, 400)),
        max_size=80,
    )
)
def test_a_limit_stays_between_four_and_its_ceiling(
    ticks: list[tuple[int, float, float, float]],
) -> None:
    """Never below what an engine needs to batch, never above what it holds."""
    limit = InFlightLimit(128)
    for in_flight, pace_s, target_s, expected in ticks:
        limit.tick(in_flight, pace_s, target_s, expected)
        assert 4 <= limit.value <= 128


def test_a_budget_price_holds_spending_to_its_pace() -> None:
    """A demand that would spend twice the budget is held within a few per cent of it."""
    price, spent = BudgetPrice(), 0.0
    for _ in range(1200):
        # spending falls linearly with the price, from twice the allowed rate
        rate = max(0.0, 200.0 * (1.0 - price.value / 0.02))
        spent += rate * 0.5
        price.tick(rate, 100.0, 0.5, 1.0, 100.0)
    assert spent / (100.0 * 600) == pytest.approx(1.0, abs=0.12)


def test_no_budget_pressure_no_price() -> None:
    """Spending at half the pace leaves the price at zero."""
    price = BudgetPrice()
    for _ in range(100):
        price.tick(50.0, 100.0, 0.5, 1.0, 100.0)
    assert price.value == 0.0


def test_an_exhausted_budget_prices_at_the_most() -> None:
    """With nothing left the price rises to its maximum, and no further."""
    price = BudgetPrice()
    for _ in range(1000):
        price.tick(50.0, 0.0, 0.5, 1.0, 100.0)
    assert price.value == pytest.approx(0.03)


def stepped(**changes: object) -> float:
    """Return a limit of 50 after a step: 40 in flight on a good pace, with changes."""
    step = LimitStep(50.0, 128, 40, 0.02, 0.025, None, 40)
    return limit_after(replace(step, **changes))  # type: ignore[arg-type]


def test_what_an_engine_says_only_holds_a_limit_back() -> None:
    """Nothing known moves nothing; an empty queue and room in the cache neither."""
    free = stepped()
    assert free > 50.0
    assert stepped(waiting=0.0, kv_usage=0.5) == free
    assert stepped(kv_usage=0.99) == 50.0


def test_a_queue_inside_the_engine_comes_out_of_the_limit() -> None:
    """By what waits there, a tenth a tick at most, also where no pace is known; never below the least."""
    assert stepped(waiting=3.0) == 37.0
    assert stepped(waiting=30.0) == 36.0
    assert stepped(waiting=30.0, tpot_s=None) == 36.0
    assert stepped(waiting=900.0, in_flight=4, before=4.0) == 4.0
