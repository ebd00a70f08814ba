"""Statuses and further attempts."""

from __future__ import annotations

from gateway.wire.statuses import ANOTHER_MIGHT, NOT_TAKEN, OF_THE_MOMENT


def test_what_is_the_requests_own_fault_is_on_no_list() -> None:
    """A client's error and a backend's 500 are answers; what is below 500 and listed is of the moment."""
    for status in (400, 401, 403, 404, 409, 413, 422, 500, 501):
        assert status not in ANOTHER_MIGHT | NOT_TAKEN
    assert {status for status in ANOTHER_MIGHT | NOT_TAKEN if status < 500} <= OF_THE_MOMENT


def test_who_stands_between_may_have_passed_it_on() -> None:
    """502 and 504 come from a proxy that had sent it: asked elsewhere only where that is wanted."""
    assert {502, 504} == ANOTHER_MIGHT - NOT_TAKEN
