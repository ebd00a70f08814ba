"""The plots' numbers have a flat part, a knee and a queue, and come out as a table and as files."""

import pytest

from controller.llmd.sim.plots import (
    Point,
    arrivals,
    capped,
    closed_loop,
    open_loop,
    percentile,
    priority_waits,
    table,
)


def test_the_open_loop_has_a_knee_and_a_queue():
    """Half the capacity is as quick as a tenth; beyond it TTFT is many times that, and the rate stays."""
    low, half, over = (open_loop(capped("8b-h100"), rate, 900, 200) for rate in (4, 18, 60))
    assert half.ttft_p50 < 1.5 * low.ttft_p50
    assert over.ttft_p50 > 20 * half.ttft_p50
    assert over.rate < 45


def test_the_closed_loop_saturates():
    """Twice the users beyond the places finish no more."""
    some, more = (closed_loop(capped("8b-h100"), users, 60.0) for users in (256, 512))
    assert more.rate == pytest.approx(some.rate, rel=0.1)
    assert more.ttft_p50 > 3 * some.ttft_p50


def test_priorities_part_beyond_the_knee():
    """The urgent wait less than the rest."""
    waits = priority_waits([34], 300)
    assert waits["critical"][0] <= waits["standard"][0] <= waits["batch"][0]
    assert waits["batch"][0] > 10 * max(waits["critical"][0], 1)


def test_arrivals_are_poisson_at_the_rate():
    """Ascending, and as many a second as asked."""
    times = arrivals(10, 2000, "k")
    assert times == sorted(times)
    assert 2000 / times[-1] == pytest.approx(10, rel=0.05)


def test_a_table_has_a_line_for_every_point():
    """With the offered rate first."""
    lines = table("hw", [Point(2, 1.96, 30, 40, 6.7, 7, 0)]).splitlines()
    assert lines[-1] == "| 2 | 2.0 | 30 | 40 | 6.7 | 7.0 | 0 |"
    assert percentile([3, 1, 2], 0.5) == 2
