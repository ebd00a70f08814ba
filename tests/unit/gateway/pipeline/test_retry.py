"""Whether a further attempt may be made, when, and out of which budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel import bounds
from gateway.kernel.errors import (
    UpstreamBrokenError,
    UpstreamBusyError,
    UpstreamClosedError,
    UpstreamConnectTimeoutError,
    UpstreamError,
    UpstreamOpenError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from gateway.pipeline.retry import (
    Failure,
    Repeats,
    RetryBudget,
    RetrySettings,
    failure_of_answer,
    failure_of_error,
    may_repeat,
    pause_s,
    read_retry_after,
)
from gateway.wire.statuses import ANOTHER_MIGHT

NOW_MS = 1_760_000_000_000  # Thu, 09 Oct 2025 08:53:20 GMT
STATUSES = ANOTHER_MIGHT


@pytest.mark.parametrize(
    ("kind", "reason", "reached"),
    [
        (UpstreamUnreachableError, "unreachable", False),
        (UpstreamBusyError, "busy", False),
        (UpstreamOpenError, "open", False),
        (UpstreamConnectTimeoutError, "connect_timeout", False),
        (UpstreamClosedError, "closed", True),
        (UpstreamBrokenError, "broken", True),
        (UpstreamTimeoutError, "timeout", True),
    ],
)
def test_what_an_error_says(kind: type[UpstreamError], reason: str, reached: bool) -> None:
    """A word for the reason, and whether a byte may have arrived; only a breaker names a time of its own."""
    failure = failure_of_error(kind("no", retry_after_s=4.0))
    assert (failure.reason, failure.reached, failure.worked) == (reason, reached, reached)
    assert failure.retry_after_s == (4.0 if reason == "open" else None)


@pytest.mark.parametrize(
    ("status", "dropped", "worked"),
    [
        (429, b"", False),
        (503, b"", False),
        (502, b"", True),
        (504, b"", True),
        (503, b"rejected-no-endpoints", False),
        (429, b"evicted", True),
        (429, b" Evicted-Queue-Pressure ", True),
    ],
)
def test_what_an_answer_says(status: int, dropped: bytes, worked: bool) -> None:
    """429 and 503 were not taken, unless llm-d says that it evicted them; 502 and 504 may have been."""
    headers = [(b"Retry-After", b"2"), (b"X-LLM-D-Request-Dropped-Reason", dropped)]
    failure = failure_of_answer(status, headers, STATUSES, wall_ms=NOW_MS)
    assert failure == Failure(f"status_{status}", True, worked, 2.0)


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 500, 501])
def test_other_answers_are_answers(status: int) -> None:
    """What is not listed is no failure of the attempt."""
    assert failure_of_answer(status, (), STATUSES, wall_ms=NOW_MS) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"", None),
        (b"0", 0.0),
        (b" 120 ", 120.0),
        (b"99999999999999999999", 86_400.0),
        (b"-1", None),
        (b"1.5", None),
        (b"\xb2", None),
        (b"soon", None),
        (b"-99e9 soon", None),
        (b"Thu, 09 Oct 2025 08:53:50 GMT", 30.0),
        (b"Thu, 09 Oct 2025 08:53:50", 30.0),
        (b"Thu, 09 Oct 2025 08:53:10 GMT", 0.0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        (b"Thu, 99 Foo 2025 08:53:50 GMT", None),
        (b"1" * 100_000, 86_400.0),
    ],
)
def test_retry_after(value: bytes | None, seconds: float | None) -> None:
    """Whole seconds or a date, bounded by a day; anything else says nothing."""
    assert read_retry_after(value, wall_ms=NOW_MS) == seconds


@given(st.binary(max_size=80))
def test_no_header_breaks_the_reader(value: bytes) -> None:
    """Whatever a backend writes is a time within a day or none."""
    seconds = read_retry_after(value, wall_ms=NOW_MS)
    assert seconds is None or 0.0 <= seconds <= 86_400.0


@given(st.booleans(), st.booleans(), st.sampled_from(Repeats), st.booleans())
def test_an_effect_never_happens_twice(reached: bool, worked: bool, repeats: Repeats, after: bool) -> None:
    """Once a byte has left, only a key lets a request with effects go again; the configuration cannot."""
    failure = Failure("x", reached, worked)
    allowed = may_repeat(failure, repeats, RetrySettings(after_send=after))
    if repeats is Repeats.ONCE:
        assert allowed is not reached
    elif repeats is Repeats.KEYED or not reached:
        assert allowed
    else:
        assert allowed is (after or not worked)


@pytest.mark.parametrize(
    ("attempt", "chance", "wants", "pause"),
    [
        (2, 0.0, None, 0.0),
        (2, 0.5, None, 0.1),
        (3, 0.5, None, 0.2),
        (4, 1.0, None, 0.8),
        (30, 1.0, None, 5.0),
        (2, 1.0, 3.0, 3.0),
        (9, 1.0, 3.0, 5.0),
        (2, 0.5, 60.0, 60.0),
    ],
)
def test_pauses(attempt: int, chance: float, wants: float | None, pause: float) -> None:
    """A random part of 0.2, 0.4, 0.8 s up to 5, and never less than the backend wants."""
    failure = Failure("x", True, False, wants)
    assert pause_s(failure, attempt, RetrySettings(), chance) == pytest.approx(pause)


def test_a_budget_is_a_share_of_the_requests() -> None:
    """After what it begins with, a storm of failures gets one further attempt for each five requests."""
    budget = RetryBudget(RetrySettings(budget_per_s=0.0), 0.0)
    taken = 0
    for number in range(1, 1001):
        budget.refill(number, 0.0)
        taken += budget.take()
    assert taken == pytest.approx(bounds.RETRY_TOKENS_FIRST + 200, abs=1)


def test_a_quiet_gateway_retries_too() -> None:
    """One a second whatever the traffic, saved up to a bound."""
    budget = RetryBudget(RetrySettings(), 0.0)
    while budget.take():
        pass
    budget.refill(0, 2.5)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    budget.refill(0, 1e6)
    assert budget.tokens == bounds.RETRY_TOKENS_MAX


def test_a_budget_never_goes_back() -> None:
    """Fewer requests than at the last look take nothing away."""
    budget = RetryBudget(RetrySettings(budget_per_s=0.0), 0.0)
    budget.refill(50, 0.0)
    before = budget.tokens
    budget.refill(40, 0.0)
    assert budget.tokens == before
    budget.refill(50, 0.0)
    assert budget.tokens == before, "nor is anything given twice"


def test_a_budget_is_never_overdrawn() -> None:
    """Of ten and a half there are ten, and what is left over stays."""
    budget = RetryBudget(RetrySettings(budget_per_s=0.0), 0.0)
    budget.tokens = 10.5
    assert [budget.take() for _ in range(12)] == [True] * 10 + [False] * 2
    assert budget.tokens == 0.5
