"""`controller.core.replay`: a stored plan is made again, and what differs is named."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import Controller, ControllerConfig, replay
from controller.intent import IntentSet
from controller.plan import Plan, make_plan, plain
from gateway.kernel.parse import parse_json
from tests.kit.control import catalogue, drawn_request, drawn_snapshot, intent, request

SEED = 3
"""Its plan waits in a queue and has one line in its option table."""


def recorded(value: Any) -> Any:
    """Return what a reader gets back of a value that was written as canonical JSON."""
    return parse_json(rfc8785.dumps(plain(value)))


def stored(seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Return a request, a snapshot and their plan as a record holds them."""
    asked, seen = drawn_request(seed), drawn_snapshot(seed)
    return recorded(asked), recorded(seen), recorded(make_plan(asked, seen))


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_a_recorded_plan_replays_to_itself(seed: int) -> None:
    """Through canonical JSON, which prints 1.0 as 1, every plan comes out the same."""
    replayed = replay(*stored(seed))
    assert replayed.differs == ()
    assert replayed.same
    assert replayed.plan == make_plan(drawn_request(seed), drawn_snapshot(seed))


def test_what_the_controller_hands_out_replays() -> None:
    """A submission carries all that its plan was made from."""
    chat = intent()
    made = Controller(ControllerConfig(catalogue(), IntentSet([chat])), 0.0)
    made.submit(request(chat, request_id="r0", arrived_s=1.0), 1.0)
    made.tick(1.5)
    submission = made.submit(request(chat, request_id="r1", arrived_s=2.0), 2.0)
    assert replay(recorded(submission.request), recorded(submission.snapshot), recorded(submission.plan)).same


@pytest.mark.parametrize("name", list(Plan.__dataclass_fields__))
def test_a_field_that_was_changed_is_named(name: str) -> None:
    """Another value in any one field of the stored plan is found, and only that field is blamed."""
    asked, seen, plan = stored(SEED)
    assert replay(asked, seen, {**plan, name: "forged"}).differs == (name,)


def test_the_last_bit_counts() -> None:
    """A number that is off by its least bit is a difference, however deep it lies."""
    asked, seen, plan = stored(SEED)
    first, *rest = plan["options"]
    nudged = {**first, "utility": first["utility"] * (1 + 2**-52)}
    assert nudged != first
    replayed = replay(asked, seen, {**plan, "options": [nudged, *rest]})
    assert replayed.differs == ("options",)
    assert not replayed.same


def test_a_field_that_is_missing_differs() -> None:
    """A record without a field is not the same as one with null in it."""
    asked, seen, plan = next(parts for parts in map(stored, range(50)) if parts[2]["max_tokens"] is None)
    del plan["max_tokens"]
    assert replay(asked, seen, plan).differs == ("max_tokens",)


def test_another_snapshot_gives_another_plan() -> None:
    """The plan is made from what was handed in, never from the stored plan."""
    asked, seen, plan = stored(SEED)
    seen["tick"]["number"] += 1
    replayed = replay(asked, seen, plan)
    assert replayed.differs == ("tick",)
    assert replayed.plan.tick == plan["tick"] + 1
