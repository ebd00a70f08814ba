"""The flow-control queue: strict bands, fair flows, order inside a flow, expiry."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.llmd.sim.flow import FlowQueue, Queued


def item(name, priority=0, flow="f", *, expires=math.inf, deadline=math.inf, order=None):
    """Return a request of ten bytes."""
    number = int(name) if order is None else order
    return Queued(str(name), priority, flow, 10, 0.0, expires, deadline, number)


def drained(queue):
    """Take everything out, in order."""
    taken = []
    while queue:
        taken.append(queue.pop())
    return taken


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 4), st.sampled_from("abc")), max_size=40))
def test_bands_are_strict_and_flows_take_turns(entries):
    """None leaves before one of a higher band; in a band two flows with work differ by at most one."""
    queue = FlowQueue(by_deadline=False)
    for order, (priority, flow) in enumerate(entries):
        queue.push(item(order, priority, flow))
    taken = drained(queue)
    assert len(taken) == len(entries)
    assert all(before.priority >= after.priority for before, after in pairwise(taken))
    for priority in {entry[0] for entry in entries}:
        band = [each for each in taken if each.priority == priority]
        for end in range(len(band)):
            served = {flow: sum(each.fairness_id == flow for each in band[:end]) for flow in "abc"}
            left = {flow: sum(each.fairness_id == flow for each in band[end:]) for flow in "abc"}
            busy = [served[flow] for flow in "abc" if left[flow]]
            assert not busy or max(busy) - min(busy) <= 1
        for flow in "abc":
            orders = [each.order for each in band if each.fairness_id == flow]
            assert orders == sorted(orders)


def test_deadline_order_serves_the_earliest_first_and_those_without_last():
    """Inside a flow the TTFT deadline decides."""
    queue = FlowQueue(by_deadline=True)
    for name, deadline in enumerate((5.0, math.inf, 1.0, 3.0)):
        queue.push(item(name, deadline=deadline))
    assert [each.request_id for each in drained(queue)] == ["2", "3", "0", "1"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.1, 10), max_size=20), st.floats(0, 11), st.integers(0, 19))
def test_expiry_takes_exactly_those_whose_time_is_up(expiries, now, gone):
    """The expired come out in order of their time, the removed never, the rest stay."""
    queue = FlowQueue(by_deadline=False)
    for name, at in enumerate(expiries):
        queue.push(item(name, priority=name % 3, expires=at))
    removed = queue.remove(str(gone))
    assert (removed is not None) == (gone < len(expiries))
    kept = {str(name): at for name, at in enumerate(expiries) if name != gone}
    expired = [each.request_id for each in queue.expired(now)]
    assert expired == sorted((name for name in kept if kept[name] <= now), key=lambda n: (kept[n], int(n)))
    assert {each.request_id for each in drained(queue)} == {name for name in kept if kept[name] > now}
    assert queue.bytes == 0
    assert queue.next_expiry() == math.inf


def test_sizes_are_told_by_band_and_flow():
    """What the metrics page shows."""
    queue = FlowQueue(by_deadline=False)
    queue.push(item(0, 4, "a"))
    queue.push(item(1, 4, "b"))
    queue.push(item(2, 4, "b"))
    assert queue.sizes() == {(4, "a"): 1, (4, "b"): 2}
    assert (queue.band_size(4), queue.band_size(0), queue.bytes) == (3, 0, 30)


def test_an_empty_queue_has_nothing_to_take():
    """Pop and top_priority say so."""
    with pytest.raises(IndexError):
        FlowQueue(by_deadline=False).pop()
