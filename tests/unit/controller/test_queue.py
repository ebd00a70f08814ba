"""`controller.queue`: priority, fairness, deadlines."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.queue import ModelQueue, Waiting


def waiting(name: str, priority: int = 0, deadline: float = 10.0, **fields: object) -> Waiting:
    """Return a request in the queue."""
    values: dict[str, object] = {
        "request_id": name, "tenant": "t", "priority": priority, "deadline_s": deadline, "work_s": 1.0,
        "enqueued_s": 0.0, "expires": True,
    }  # fmt: skip
    return Waiting(**{**values, **fields})  # type: ignore[arg-type]


def drain(queue: ModelQueue, now_s: float = 0.0, *, room: bool = True) -> list[str]:
    """Return the ids in the order in which they leave."""
    out = []
    while (item := queue.pop(room=room, now_s=now_s)) is not None:
        out.append(item.request_id)
    return out


def test_priority_then_deadline() -> None:
    """Higher priority first; within one, and one tenant, the earlier deadline."""
    queue = ModelQueue()
    for item in (
        waiting("low", -1, 1.0),
        waiting("late", 3, 9.0),
        waiting("soon", 3, 2.0),
        waiting("top", 4),
    ):
        queue.push(item)
    assert drain(queue) == ["top", "soon", "late", "low"]


def test_a_greedy_tenant_waits_for_the_others() -> None:
    """Of a hundred requests of one and five of another, the five are out within the first ten."""
    queue = ModelQueue()
    for index in range(100):
        queue.push(waiting(f"greedy{index}", tenant="greedy"))
    for index in range(5):
        queue.push(waiting(f"small{index}", tenant="small"))
    order = drain(queue)
    assert {name for name in order[:11] if name.startswith("small")} == {f"small{n}" for n in range(5)}


def test_idling_earns_no_credit() -> None:
    """A tenant that comes back is served next to the others, and not all before them."""
    queue = ModelQueue()
    for index in range(50):
        queue.push(waiting(f"a{index}", tenant="a"))
    for _ in range(20):
        queue.pop(room=True, now_s=0.0)
    for index in range(20):
        queue.push(waiting(f"b{index}", tenant="b"))
    first = drain(queue)[:20]
    assert 8 <= sum(name.startswith("a") for name in first) <= 12


def test_held_work_waits_for_room_or_its_last_moment() -> None:
    """Deferrable work stays while there is no room, lets others pass, and starts when it must."""
    queue = ModelQueue()
    queue.push(waiting("held", 4, hold_until_s=5.0))
    queue.push(waiting("other", -1))
    assert drain(queue, 1.0, room=False) == ["other"]
    assert queue.ahead() == ()
    assert drain(queue, 5.0, room=False) == ["held"]


def test_expired_leave_and_patient_stay() -> None:
    """Only what may expire is taken out, once, at its deadline."""
    queue = ModelQueue()
    queue.push(waiting("gone", deadline=1.0))
    queue.push(waiting("stays", deadline=1.0, expires=False))
    queue.push(waiting("later", deadline=9.0))
    assert [item.request_id for item in queue.expired(2.0)] == ["gone"]
    assert queue.expired(2.0) == ()
    assert drain(queue, 2.0) == ["stays", "later"]


def test_a_request_is_enqueued_once() -> None:
    """The same id twice is a fault of the caller, said so."""
    queue = ModelQueue()
    queue.push(waiting("r"))
    with pytest.raises(ValueError, match="already waits"):
        queue.push(waiting("r"))


def test_a_removed_request_may_come_back() -> None:
    """Planned anew, it re-enters under the same id and leaves once."""
    queue = ModelQueue()
    queue.push(waiting("r", deadline=5.0))
    assert queue.remove("r") is not None
    assert queue.remove("r") is None
    queue.push(waiting("r", deadline=3.0))
    assert drain(queue) == ["r"]


@settings(derandomize=True, max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 120))
def test_counts_and_work_are_exact(seed: int, steps: int) -> None:
    """After any pushes, pops, removals and expiries, size and work per priority equal what is inside."""
    rng, queue, inside = random.Random(seed), ModelQueue(), {}
    for step in range(steps):
        what = rng.random()
        if what < 0.55:
            item = waiting(
                f"r{step}", rng.choice((4, 3, -1)), rng.uniform(0, 50), tenant=rng.choice("abc"),
                work_s=rng.uniform(0.01, 2), hold_until_s=rng.choice((0.0, 0.0, 30.0)),
            )  # fmt: skip
            queue.push(item)
            inside[item.request_id] = item
        elif what < 0.8:
            popped = queue.pop(room=rng.random() < 0.5, now_s=float(step))
            if popped is not None:
                best = max(
                    (item.priority for item in inside.values() if not item.held), default=popped.priority
                )
                assert popped.priority >= best or popped.held
                del inside[popped.request_id]
        elif what < 0.9 and inside:
            del inside[queue.remove(rng.choice(sorted(inside))).request_id]  # type: ignore[union-attr]
        else:
            for item in queue.expired(float(step)):
                del inside[item.request_id]
        assert len(queue) == len(inside)
        sums: dict[int, float] = {}
        for item in inside.values():
            if not item.held:
                sums[item.priority] = sums.get(item.priority, 0.0) + item.work_s
        assert dict(queue.ahead()) == pytest.approx(sums)


def test_nobody_below_the_least_priority_leaves() -> None:
    """Where a more urgent request was turned away, a less urgent one stays."""
    queue = ModelQueue()
    queue.push(waiting("low", -1))
    queue.push(waiting("high", 3))
    assert queue.pop(room=True, now_s=0.0, priority_min=3) is not None
    assert queue.pop(room=True, now_s=0.0, priority_min=3) is None
    assert drain(queue) == ["low"]
