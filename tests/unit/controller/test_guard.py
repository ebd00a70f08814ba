"""`controller.guard`: the fail-safe ladder and the breaker of a backend."""

from __future__ import annotations

import pytest

from controller.guard import Breaker, Guard, GuardMode, Vitals, cohort

WELL = Vitals()


def test_well_signs_keep_it_active() -> None:
    """Unknown and healthy signs never trip."""
    guard = Guard()
    for tick in range(100):
        assert guard.tick(Vitals(median_ratio=1.1, coverage=0.9), tick / 2) is None
    assert guard.mode is GuardMode.ACTIVE
    assert guard.controls("anything")


@pytest.mark.parametrize(
    "vitals",
    [
        Vitals(coverage=0.5),
        Vitals(signals_age_s=6.0),
        Vitals(little_broken=True),
        Vitals(self_inflicted=True),
        Vitals(harmed_epochs=2),
    ],
)
def test_each_bad_sign_trips_to_guarded_with_a_reason(vitals: Vitals) -> None:
    """One tick is enough, the reason is said, and no request is controlled."""
    guard = Guard()
    change = guard.tick(vitals, 0.0)
    assert change is not None
    assert (change.after, bool(change.reason)) == (GuardMode.GUARDED, True)
    assert not guard.controls("r")


def test_a_wrong_median_must_last_three_windows() -> None:
    """Predictions off by three trip after 20 seconds, not before, and not under an overload."""
    guard, busy = Guard(), Guard()
    changes = [guard.tick(Vitals(median_ratio=3.0), tick / 2) for tick in range(60)]
    assert next(index for index, change in enumerate(changes) if change) == 40
    for tick in range(60):
        assert busy.tick(Vitals(median_ratio=3.0, coverage=0.1, overloaded=True), tick / 2) is None


@pytest.mark.parametrize("vitals", [Vitals(exception_share=0.02), Vitals(decision_p99_s=0.006)])
def test_faults_of_our_own_go_straight_to_bypass(vitals: Vitals) -> None:
    """Exceptions and slow decisions leave nothing of ours in the path."""
    guard = Guard()
    guard.tick(vitals, 0.0)
    assert guard.mode is GuardMode.BYPASS


def test_guarding_that_does_not_help_ends_in_bypass() -> None:
    """When misses rise by ten points under guard, the controller steps aside."""
    guard = Guard()
    guard.tick(Vitals(little_broken=True, miss_share=0.05), 0.0)
    guard.tick(Vitals(little_broken=True, miss_share=0.5), 31.0)
    assert guard.mode is GuardMode.BYPASS


def test_the_way_back_is_half_open() -> None:
    """Ten seconds of health, then 5 %, 25 % and all requests, half a minute each."""
    guard = Guard()
    guard.tick(Vitals(self_inflicted=True), 0.0)
    assert guard.tick(WELL, 9.0) is None
    names = [f"r{index}" for index in range(2000)]
    shares = []
    for now_s in (10.0, 40.0, 70.0):
        assert guard.tick(WELL, now_s) is not None
        shares.append(sum(guard.controls(name) for name in names) / len(names))
    assert shares == pytest.approx([0.05, 0.25, 1.0], abs=0.02)


def test_cohorts_are_stable_and_even() -> None:
    """The cohort of an id never changes, and a tenth of the ids lies below 0.1."""
    assert cohort("r1") == cohort("r1")
    assert sum(cohort(f"r{index}") < 0.1 for index in range(5000)) / 5000 == pytest.approx(0.1, abs=0.015)


def fail(breaker: Breaker, count: int, now_s: float) -> None:
    """Count failures."""
    for _ in range(count):
        breaker.result(failed=True, now_s=now_s)


def test_a_breaker_needs_five_failures_and_half() -> None:
    """Four failures, or five among many, leave it closed."""
    breaker = Breaker("m")
    fail(breaker, 4, 0.0)
    assert breaker.usable(0.0)
    mixed = Breaker("m")
    for _ in range(20):
        mixed.result(failed=False, now_s=0.0)
    fail(mixed, 5, 0.0)
    assert mixed.usable(0.0)
    fail(breaker, 1, 0.0)
    assert not breaker.usable(1.0)


def test_half_open_lets_one_two_four_through_and_closes() -> None:
    """After 5 to 6.25 seconds one probe may go; successes double the probes until it is closed."""
    breaker = Breaker("m")
    fail(breaker, 5, 0.0)
    now_s = 6.3
    for probes in (1, 2, 4):
        sent = 0
        while breaker.usable(now_s):
            breaker.sent(now_s)
            sent += 1
            assert sent <= probes
        breaker.result(failed=False, now_s=now_s)
        for _ in range(sent - 1):
            breaker.result(failed=False, now_s=now_s)
        now_s += 1.0
        if all(breaker.usable(now_s) for _ in range(20)) and probes > 1:
            break
    assert breaker.usable(now_s)


def test_a_failed_probe_opens_it_for_longer() -> None:
    """The second opening lasts ten seconds or more."""
    breaker = Breaker("m")
    fail(breaker, 5, 0.0)
    breaker.sent(6.3)
    breaker.result(failed=True, now_s=6.3)
    assert not breaker.usable(16.0)
    assert breaker.usable(19.0)


def test_a_hanging_backend_opens_it() -> None:
    """Nothing back for too long counts like failures, once."""
    breaker = Breaker("m")
    breaker.hung(0.0)
    assert not breaker.usable(1.0)


def test_a_guard_goes_on_from_its_state() -> None:
    """At any tick, what it remembers makes another one that votes the same."""
    guard = Guard()
    signs = [Vitals(median_ratio=3.0)] * 50 + [WELL] * 200 + [Vitals(harmed_epochs=2)] + [WELL] * 30
    for tick, vitals in enumerate(signs):
        twin = Guard(guard.state)
        assert twin.tick(vitals, tick / 2) == guard.tick(vitals, tick / 2)
        assert twin.state == guard.state
    assert guard.mode is not GuardMode.BYPASS


def test_only_recent_failures_open_a_breaker() -> None:
    """Ten seconds later they no longer count, however many answers came between."""
    breaker = Breaker("m")
    for index in range(4):
        breaker.result(failed=True, now_s=index * 0.1)
    for index in range(200):
        breaker.result(failed=False, now_s=1.0 + index * 0.01)
    for index in range(4):
        breaker.result(failed=True, now_s=13.0 + index * 0.1)
    assert breaker.usable(14.0)
    breaker.result(failed=True, now_s=14.0)
    assert not breaker.usable(14.1)
    assert breaker.failure_share == 1.0
