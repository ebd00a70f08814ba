"""`controller.evaluate.split`: fixed shares, fixed limits, priority queues, and the search's candidates."""

from __future__ import annotations

from collections import Counter

import pytest

from controller.core import Outcome
from controller.evaluate.policy import Refuse, Send
from controller.evaluate.split import PRIORITY_LIMIT, Fixed, Split, candidates, priority_only, tuned
from controller.evaluate.world import KINDS, LADDER, LARGE, MID, SLOTS, SMALL
from controller.guard import cohort
from controller.intent import Intent
from controller.plan import Request

PREMIUM, STANDARD, BATCH = (kind.intent for kind in KINDS)
ALL_LARGE = {"premium": (1.0,), "standard": (1.0, 0.0), "batch": (1.0, 0.0, 0.0)}


def ask(name: str, kind: Intent = STANDARD, at_s: float = 0.0) -> Request:
    """Return a request."""
    return Request(name, kind, LARGE, 100, at_s)


def narrow(limit: int) -> Fixed:
    """Return the policy that sends everything to the large model, `limit` at once."""
    return tuned(Split(ALL_LARGE, limit))


def sent(policy: Fixed, now_s: float = 0.0) -> list[str]:
    """Return the ids that are sent now."""
    return [command.request_id for command in policy.take(now_s) if isinstance(command, Send)]


def where(split: Split, kind: Intent, count: int) -> Counter[str]:
    """Return how many of `count` requests each model gets, with no limit in the way."""
    policy, models = tuned(split), Counter[str]()
    for index in range(count):
        policy.arrive(ask(f"r{index}", kind), 0.0)
        for command in policy.take(0.0):
            assert isinstance(command, Send)
            models[command.model] += 1
            policy.ended(command.request_id, Outcome("complete", 5), 0.0)
    return models


def test_shares_are_what_the_models_get() -> None:
    """Of 4000 batch requests each rung gets its share, to within two points."""
    shares = {"premium": (1.0,), "standard": (0.5, 0.5), "batch": (0.2, 0.3, 0.5)}
    got = where(Split(shares, 128), BATCH, 4000)
    for name, share in zip(LADDER, shares["batch"], strict=True):
        assert got[name] / 4000 == pytest.approx(share, abs=0.02)


def test_the_rung_follows_from_the_request_alone() -> None:
    """The hash decides: below the first share it is the first rung, else the next."""
    policy = tuned(Split({**ALL_LARGE, "standard": (0.5, 0.5)}, 128))
    for index in range(100):
        policy.arrive(ask(f"r{index}"), 0.0)
    for command in policy.take(0.0):
        assert isinstance(command, Send)
        assert command.model == (LARGE if cohort(command.request_id) < 0.5 else MID)


@pytest.mark.parametrize("split", list(candidates()))
def test_no_class_goes_below_its_floor(split: Split) -> None:
    """Under every candidate premium stays large and standard never sees the small model."""
    assert set(where(split, PREMIUM, 40)) == {LARGE}
    assert set(where(split, STANDARD, 40)) <= {LARGE, MID}


def test_a_limit_holds_until_one_ends() -> None:
    """Of five with room for three two wait, and each end lets one go."""
    policy = narrow(3)
    for index in range(5):
        policy.arrive(ask(f"r{index}"), 0.0)
    assert sent(policy) == ["r0", "r1", "r2"]
    policy.ended("r1", Outcome("failed"), 0.5)
    assert sent(policy, 0.5) == ["r3"]
    assert sent(policy, 0.5) == []
    assert policy.in_flight == 3


def test_the_other_models_take_what_their_slots_hold() -> None:
    """Only the large model's limit is searched for."""
    policy = tuned(Split({**ALL_LARGE, "batch": (0.0, 0.0, 1.0)}, 3))
    for index in range(SLOTS[SMALL] + 10):
        policy.arrive(ask(f"r{index}", BATCH), 0.0)
    assert len(sent(policy)) == SLOTS[SMALL]


def test_the_queue_goes_by_priority_then_deadline_then_arrival() -> None:
    """Premium first; within a class who must be first is first; ties as they came."""
    policy = narrow(1)
    policy.arrive(ask("running"), 0.0)
    assert sent(policy) == ["running"]
    for name, kind, at_s in (
        ("batch", BATCH, 0.0), ("late", STANDARD, 0.5), ("soon", STANDARD, 0.0),
        ("tie", STANDARD, 0.5), ("premium", PREMIUM, 0.9),
    ):  # fmt: skip
        policy.arrive(ask(name, kind, at_s), 1.0)
    order, last = [], "running"
    while True:
        policy.ended(last, Outcome("complete", 5), 1.0)
        released = sent(policy, 1.0)
        if not released:
            break
        (last,) = released
        order.append(last)
    assert order == ["premium", "soon", "late", "tie", "batch"]


def test_only_the_tuned_split_lets_requests_expire() -> None:
    """What can no longer have its first token in time is refused by one, and sent late by the other."""
    for policy, expected in (
        (narrow(1), [Refuse("waits", "expired", 1.0)]),
        (Fixed("priority", Split(ALL_LARGE, 1), expires=False), [Send("waits", LARGE, None)]),
    ):
        policy.arrive(ask("first"), 0.0)
        policy.arrive(ask("waits"), 0.0)
        assert sent(policy) == ["first"]
        policy.ended("first", Outcome("complete", 5), 2.5)
        assert policy.take(2.5) == expected


def test_what_expired_holds_no_slot() -> None:
    """A refusal leaves the slot to the next in line."""
    policy = narrow(1)
    policy.arrive(ask("first"), 0.0)
    policy.arrive(ask("dead"), 0.0)
    policy.arrive(ask("alive", at_s=2.0), 2.0)
    assert sent(policy) == ["first"]
    policy.ended("first", Outcome("complete", 5), 2.5)
    assert policy.take(2.5) == [Refuse("dead", "expired", 1.0), Send("alive", LARGE, None)]
    assert policy.in_flight == 1


def test_the_priority_queue_uses_the_preferred_model_only() -> None:
    """All classes go to the large model, as many as at its measured knee."""
    policy = priority_only()
    assert policy.name == "priority"
    for index in range(200):
        policy.arrive(ask(f"r{index}", (PREMIUM, STANDARD, BATCH)[index % 3]), 0.0)
    commands = policy.take(0.0)
    assert len(commands) == PRIORITY_LIMIT
    assert {command.model for command in commands if isinstance(command, Send)} == {LARGE}


def test_candidates_differ_and_fit_the_ladder() -> None:
    """Each has one share per rung of its class, and both ends are among them."""
    tried = list(candidates())
    assert len({(tuple(split.shares.items()), split.large_limit) for split in tried}) == len(tried) == 48
    for split in tried:
        for kind in KINDS:
            assert len(split.shares[kind.name]) == len(kind.intent.models)
    standards = {split.shares["standard"] for split in tried}
    assert {(1.0, 0.0), (0.0, 1.0)} <= standards
    assert all(0 < split.large_limit <= SLOTS[LARGE] for split in tried)
