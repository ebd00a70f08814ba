"""The breaker as a state machine under a clock that the test moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.breaker import CLAIM_S, Breaker, BreakerSettings, BreakerState

SETTINGS = BreakerSettings(
    failures=3, failure_ratio=0.5, requests_min=10, window_s=10.0, open_s=5.0, open_max_s=20.0
)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def breaker(jitter: float = 0.0) -> Breaker:
    """A breaker without jitter, unless it is asked for."""
    return Breaker(SETTINGS, lambda: jitter)


def fail(one: Breaker, now_s: float, times: int = 1) -> bool:
    """Send and fail; tell whether it opened."""
    return [one.failed(one.sent(now_s), now_s) for _ in range(times)][-1]


def opened(now_s: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    one = breaker()
    assert fail(one, now_s, 3)
    return one


def test_failures_in_a_row_open_it() -> None:
    """At the third it is open: nothing is allowed, for as long as the settings say."""
    one = breaker()
    assert not fail(one, 0.0, 2)
    assert (one.state(0.0), one.allows(0.0), one.due_in_s(0.0)) == (CLOSED, True, 0.0)
    assert fail(one, 0.0)
    assert (one.state(0.0), one.allows(0.0), one.admits(0.0), one.due_in_s(1.0)) == (OPEN, False, False, 4.0)
    assert (one.state(4.999), one.openings) == (OPEN, 1)
    assert (one.state(5.0), one.allows(5.0)) == (HALF_OPEN, True)


def test_a_success_between_begins_the_row_anew() -> None:
    """Two failures, a success and two failures open nothing."""
    one = breaker()
    fail(one, 0.0, 2)
    one.succeeded(one.sent(0.0), 0.0)
    assert not fail(one, 0.0, 2)


def test_the_row_outlives_the_window() -> None:
    """A backend that is asked once a minute and never answers is found out as well."""
    one = breaker()
    assert [fail(one, 60.0 * minute) for minute in range(3)] == [False, False, True]


def test_a_share_of_the_window_opens_it() -> None:
    """Half of ten fail, never three in a row: at the tenth it opens."""
    one = breaker()
    for number in range(9):
        epoch = one.sent(number / 10)
        if number % 2:
            assert not one.failed(epoch, number / 10)
        else:
            one.succeeded(epoch, number / 10)
    assert fail(one, 0.95)


def test_few_requests_have_no_share() -> None:
    """Two of three failing is a coincidence."""
    one = breaker()
    fail(one, 0.0)
    one.succeeded(one.sent(0.0), 0.0)
    assert not fail(one, 0.0)


@pytest.mark.parametrize(("later_s", "opens"), [(4.0, True), (6.0, True), (11.0, False), (100.0, False)])
def test_what_is_older_than_the_window_is_forgotten(later_s: float, opens: bool) -> None:
    """Failures count for half a window at least and a whole one at most."""
    one = breaker()
    for _ in range(4):
        fail(one, 0.0)
        one.succeeded(one.sent(0.0), 0.0)
    one.succeeded(one.sent(later_s), later_s)
    assert fail(one, later_s) is opens


def test_one_probe_at_a_time() -> None:
    """Who chose it has its place for a moment; who sent keeps it until there is a result."""
    one = opened()
    assert one.allows(5.0)
    one.claim(5.0)
    assert (one.allows(5.0), one.admits(5.0)) == (False, True)
    assert one.allows(5.0 + CLAIM_S)
    one.claim(5.0 + CLAIM_S)
    one.sent(6.5)
    assert (one.allows(8.0), one.admits(8.0), one.due_in_s(8.0)) == (False, False, 3.5)


def test_a_claim_means_nothing_while_it_is_closed_or_open() -> None:
    """Only a probe has a place to hold."""
    shut, closed = opened(), breaker()
    shut.claim(4.5)
    assert shut.allows(5.0)
    closed.claim(0.0)
    assert closed.allows(0.0)


def test_a_silent_probe_loses_its_place() -> None:
    """An answer that takes long keeps the backend out no longer than it was out."""
    one = opened()
    one.sent(5.0)
    assert not one.allows(9.9)
    assert one.allows(10.0)


def test_a_probe_that_answers_closes_it() -> None:
    """From the head of its answer on everybody goes there again, and the row begins anew."""
    one = opened()
    epoch = one.sent(5.0)
    assert one.answered(epoch)
    assert (one.state(5.0), one.allows(5.0)) == (CLOSED, True)
    assert not one.answered(one.epoch)
    assert not fail(one, 5.0, 2)


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    """5, 10, 20 and never more than 20 seconds; and from 5 on again once it was well."""
    one, now_s = opened(), 0.0
    for length_s in (5.0, 10.0, 20.0, 20.0):
        assert one.due_in_s(now_s) == length_s
        now_s += length_s
        assert fail(one, now_s)
    one.answered(one.sent(now_s + 20.0))
    fail(one, now_s + 20.0, 3)
    assert one.due_in_s(now_s + 20.0) == 5.0
    assert one.openings == 6


def test_a_probe_that_is_given_up_frees_its_place() -> None:
    """A client that leaves says nothing of the backend: the next request is the probe."""
    one = opened()
    one.claim(5.0)
    epoch = one.sent(5.0)
    one.abandoned(epoch, 5.5)
    assert one.allows(5.5)
    one.abandoned(epoch - 1, 5.5)


def test_what_was_sent_before_decides_nothing() -> None:
    """Late results of the time before the opening neither close, open, nor free a probe's place."""
    one = breaker()
    old = one.sent(0.0)
    fail(one, 0.0, 3)
    probe = one.sent(5.0)
    assert not one.answered(old)
    assert not one.failed(old, 5.0)
    one.abandoned(old, 5.0)
    one.succeeded(old, 5.0)
    assert (one.state(5.0), one.allows(5.0)) == (HALF_OPEN, False)
    assert one.answered(probe)
    assert not one.failed(probe, 5.0)
    assert not one.failed(old, 5.0)
    assert one.closed


def test_a_last_resort_may_close_it_and_never_prolongs_it() -> None:
    """What is sent although it is open closes it by an answer; a failure of it is no news."""
    one = opened()
    assert not fail(one, 1.0)
    assert one.due_in_s(1.0) == 4.0
    assert one.answered(one.sent(1.0))
    assert one.closed


def test_jitter_lengthens_by_a_quarter_at_most() -> None:
    """Gateways that saw the backend fall together come back at different times."""
    one = breaker(jitter=0.999)
    fail(one, 0.0, 3)
    assert 5.0 * 1.24 < one.due_in_s(0.0) < 5.0 * 1.25


STEPS = st.lists(
    st.tuples(st.sampled_from(["ok", "fail", "leave", "answer"]), st.floats(0.0, 8.0)), max_size=60
)


@given(STEPS)
def test_it_is_always_due_again(steps: list[tuple[str, float]]) -> None:
    """Whatever happens, it is allowed after its own `due_in_s`, which is bounded."""
    one, now_s = breaker(), 0.0
    for step, gap_s in steps:
        now_s += gap_s
        if one.allows(now_s):
            one.claim(now_s)
        epoch = one.sent(now_s)
        if step == "ok":
            one.answered(epoch)
            one.succeeded(epoch, now_s)
        elif step == "fail":
            one.failed(epoch, now_s)
        elif step == "leave":
            one.abandoned(epoch, now_s)
        due_s = one.due_in_s(now_s)
        assert 0.0 <= due_s <= SETTINGS.open_max_s
        assert one.admits(now_s + due_s + 1e-9)
        assert one.allows(now_s + due_s + CLAIM_S)
        assert one.closed == (one.state(now_s) is CLOSED)
