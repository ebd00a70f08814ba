"""`controller.core.steps`: what changes of weight are, and when a queue is of our own making."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core.steps import Mark, Relief, batch_nominal, crossings
from tests.kit.control import coefficients

OURS = Relief(3.0, 2.0, True, True, 0.02, 0.03, 10, 40.0, None)


@pytest.mark.parametrize(
    "change",
    [
        {"queued_for_s": 1.9},
        {"waiting": False},
        {"usable": False},
        {"tpot_s": 0.025},
        {"in_flight": 20},
    ],
)
def test_each_sign_of_a_queue_of_our_own_making_counts(change: dict[str, object]) -> None:
    """Old enough, somebody waits, the backend is reachable, on pace and half idle: all or it is not ours."""
    assert OURS.due
    assert not replace(OURS, **change).due  # type: ignore[arg-type]


def test_it_opens_to_what_was_in_flight_and_knows_when_that_did_not_help() -> None:
    """Rounded up; again within half a minute says that more is wrong."""
    assert replace(OURS, best_in_flight=40.2).opens_to == 41
    assert not OURS.again
    assert replace(OURS, since_relief_s=29.0).again
    assert not replace(OURS, since_relief_s=30.0).again


def test_a_price_crosses_a_band_and_a_limit_a_fifth() -> None:
    """Up and down by name; the mark follows; small moves and rises of a limit are no crossings."""
    mark, found = crossings(Mark("m", 0, 100), price=0.2, unit=1.0, limit=85)
    assert [(one.kind, one.before) for one in found] == [("price_up", 0.0)]
    assert mark == Mark("m", 2, 100)
    mark, found = crossings(mark, price=0.05, unit=1.0, limit=79)
    assert [(one.kind, one.before) for one in found] == [("price_down", 0.1), ("limit_down", 100.0)]
    assert mark == Mark("m", 1, 79)
    assert crossings(mark, price=0.05, unit=1.0, limit=120) == (Mark("m", 1, 120), ())


def test_work_is_counted_where_the_pace_meets_its_target() -> None:
    """Between the limit and the ceiling; without a target at the limit."""
    c = coefficients(decode_base_s=0.02, decode_sequence_s=0.0002)
    assert batch_nominal(c, 32, 128, 1, None) == 32
    assert batch_nominal(c, 32, 128, 1, 0.034) == pytest.approx(70)
    assert batch_nominal(c, 32, 128, 1, 0.021) == 32
    assert batch_nominal(c, 32, 128, 2, 0.2) == 64
