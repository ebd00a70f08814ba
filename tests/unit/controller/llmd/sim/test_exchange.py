"""Failures on request, and the numbering of answers; the rest is proven over sockets in test_server."""

import pytest

from controller.llmd.sim.exchange import Ids, fault_error
from controller.llmd.sim.fields import ApiError


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("400", 400),
        ("503", 503),
        ("599", 599),
        ("399", 400),
        ("600", 400),
        ("x", 400),
        ("", 400),
        ("4000000", 400),
    ],
)
def test_x_return_error_takes_error_statuses_only(asked, status):
    """Anything else is itself a wrong request."""
    with pytest.raises(ApiError) as caught:
        fault_error({"X-Return-Error": asked})
    assert caught.value.status == status


def test_without_the_header_nothing_fails():
    """The common case."""
    fault_error({})


def test_ids_are_distinct_and_dated():
    """Without a clock the date is zero."""
    ids = Ids(lambda: 12.7)
    assert (ids.now(), ids.started) == (12, 12)
    assert len({ids.next() for _ in range(100)}) == 100
    assert Ids(None).now() == 0
