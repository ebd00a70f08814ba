"""The waiting queue orders as vLLM does."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.waiting import FcfsQueue, PriorityQueue


@dataclass(frozen=True)
class Item:
    """A sequence, as the queue sees it."""

    priority: int
    order: int


def drained(queue):
    """Take everything out, in order."""
    taken = []
    while queue:
        head = queue.head()
        assert queue.take() is head
        taken.append(head)
    return taken


@given(st.lists(st.integers(-3, 3), max_size=20), st.data())
def test_priority_then_arrival(priorities, data):
    """The lowest priority value comes first, equals by arrival, and a dropped one never."""
    items = [Item(priority, order) for order, priority in enumerate(priorities)]
    queue = PriorityQueue()
    for item in items:
        queue.push(item)
    if items:
        gone = data.draw(st.sampled_from(items))
        queue.drop(gone)
        items.remove(gone)
    assert set(queue.members()) == set(items)
    assert drained(queue) == sorted(items, key=lambda item: (item.priority, item.order))


def test_first_come_first_served_with_the_preempted_in_front():
    """Arrivals queue behind, a preempted sequence before all."""
    queue = FcfsQueue()
    first, second, preempted = Item(0, 0), Item(-9, 1), Item(0, 2)
    queue.push(first)
    queue.push(second)
    queue.push_back(preempted)
    assert list(queue.members()) == [preempted, first, second]
    queue.drop(first)
    assert drained(queue) == [preempted, second]
