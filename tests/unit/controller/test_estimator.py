"""`controller.estimator`: learns a server from what it did."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.catalogue import Speed
from controller.estimator import Estimator, LineFit, Residuals, miss_share
from tests.kit.control import model


@pytest.mark.parametrize("factor", [0.2, 0.5, 1.0, 3.0, 5.0])
def test_a_wrong_prior_is_left_behind(factor: float) -> None:
    """From a prior that is off by up to five, 400 samples bring predictions within a tenth."""
    truth = Speed(0.03, 0.00006, 0.02, 0.0002)
    estimator = Estimator(model("m", speed=truth.scaled(factor)))
    rng = random.Random(1)
    for _ in range(400):
        tokens, batch = rng.uniform(50, 4000), rng.uniform(1, 80)
        estimator.first_token(tokens, (0.03 + 0.00006 * tokens) * rng.uniform(0.95, 1.05))
        estimator.decode(batch, (0.02 + 0.0002 * batch) * rng.uniform(0.95, 1.05))
    c = estimator.coefficients()
    assert c.prefill_s(2000) == pytest.approx(0.15, rel=0.1)
    assert c.tpot_s(40) == pytest.approx(0.028, rel=0.1)


def test_a_slowed_backend_is_seen_within_seconds_of_samples() -> None:
    """When a server becomes three times slower, twenty samples move the prediction most of the way."""
    estimator = Estimator(model("m"))
    for _ in range(300):
        estimator.first_token(1000, 0.09)
    for _ in range(20):
        estimator.first_token(1000, 0.27)
    assert estimator.coefficients().prefill_s(1000) > 0.16


def test_absurd_observations_are_left_out_or_clipped() -> None:
    """Negative, infinite and NaN times teach nothing; a single outlier moves the line by little."""
    estimator = Estimator(model("m"))
    before = estimator.coefficients()
    for absurd in (-1.0, 0.0, float("inf"), float("nan")):
        estimator.first_token(100, absurd)
        estimator.decode(3, absurd)
    assert estimator.coefficients() == before
    estimator.first_token(1000, 1e6)
    assert estimator.coefficients().prefill_s(1000) < 1.5 * before.prefill_s(1000)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(1e-6, 1e3)), max_size=60))
def test_a_line_never_predicts_less_than_nothing(samples: list[tuple[float, float]]) -> None:
    """Base and slope stay at or above zero and finite, whatever the samples."""
    fit = LineFit(0.03, 0.0001, 200.0, 4000.0)
    for x, y in samples:
        fit.add(x, y)
        assert 0.0 <= fit.base < 1e9
        assert 0.0 <= fit.slope < 1e9
        assert fit.base + fit.slope * 100 > 0.0


def test_equal_samples_leave_the_line_solvable() -> None:
    """A thousand identical requests are fitted by their mean; the prior keeps the slope."""
    fit = LineFit(0.03, 0.0001, 200.0, 4000.0)
    for _ in range(1000):
        fit.add(1000.0, 0.2)
    assert fit.base + fit.slope * 1000 == pytest.approx(0.2, rel=0.05)


def test_the_bound_covers_nine_in_ten() -> None:
    """The conformal rule brings the share under the bound to 0.9, for a heavy tail as well."""
    residuals, rng, covered = Residuals(), random.Random(3), 0
    for index in range(4000):
        ratio = rng.lognormvariate(0.0, 0.5)
        bias, spread = residuals.bias_and_spread()
        covered += index >= 1000 and ratio <= bias * spread
        residuals.add(ratio)
    assert covered / 3000 == pytest.approx(0.9, abs=0.03)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(1.0, 4.0), st.floats(1.0, 3.0))
def test_missing_is_likelier_with_a_longer_prediction(
    target: float, predicted: float, spread: float, factor: float
) -> None:
    """The miss share lies in [0, 1], is a half at the target, and rises with the prediction."""
    share = miss_share(target, predicted, spread)
    assert 0.0 <= share <= 1.0
    assert miss_share(target, predicted * factor, spread) >= share
    assert miss_share(target, target, spread) == pytest.approx(0.5)


def test_the_edges_of_missing() -> None:
    """No time left is a sure miss, no time needed a sure hit, and the spread is the 90 % point."""
    assert miss_share(0.0, 1.0, 1.5) == 1.0
    assert miss_share(-1.0, 1.0, 1.5) == 1.0
    assert miss_share(1.0, 0.0, 1.5) == 0.0
    assert miss_share(1.5, 1.0, 1.5) == pytest.approx(0.1)


def test_capacity_goes_up_by_proof_and_down_only_with_work_waiting() -> None:
    """An idle backend is not a slow one; a saturated one that serves half is."""
    estimator = Estimator(model("m"))
    for tick in range(60):
        estimator.tick(saturated=False, now_s=tick / 2)
    assert estimator.coefficients().capacity == 1.0
    for tick in range(200):
        estimator.served(0.25, tick / 2)
        estimator.tick(saturated=True, now_s=tick / 2)
    assert estimator.coefficients().capacity == pytest.approx(0.5, rel=0.15)
    for tick in range(200, 300):
        estimator.served(1.0, tick / 2)
        estimator.tick(saturated=False, now_s=tick / 2)
    assert estimator.coefficients().capacity == pytest.approx(2.0, rel=0.15)


def test_work_is_prefill_plus_a_share_of_the_steps() -> None:
    """1000 in and 100 out at a batch of 50 on two replicas: (0.06 + 100 * 0.0006) / 2 server-seconds."""
    c = Estimator(model("m")).coefficients()
    assert c.work_s(1000, 100, 50, 2) == pytest.approx((0.06 + 100 * (0.02 / 50 + 0.0002)) / 2)
