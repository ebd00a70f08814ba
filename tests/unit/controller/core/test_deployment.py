"""`controller.core.deployment`: one model's counters, pace and limits."""

from __future__ import annotations

import pytest

from controller.core.config import Tuning
from controller.core.deployment import Deployment
from controller.intent import Bias
from controller.plan import Plan, Request, make_plan
from controller.prices import EngineLoad
from controller.queue import Waiting
from tests.kit.control import catalogue, request, snapshot


def deployment() -> Deployment:
    """Return the large model under control."""
    return Deployment(catalogue()["large"], Tuning())


def planned(name: str = "r") -> tuple[Request, Plan]:
    """Return a request and its plan."""
    drawn = request(request_id=name)
    return drawn, make_plan(drawn, snapshot())


def test_counters_return_to_zero() -> None:
    """Sent, first token, ended: nothing is left in flight, prefilling or decoding."""
    made = deployment()
    flights = [made.sent(*planned(f"r{index}"), now_s=10.0) for index in range(3)]
    assert (made.in_flight, made.prefill_tokens) == (3, 1500)
    made.first_token(flights[0], 10.2)
    assert (made.prefill_tokens, made.decoding) == (1000, 1)
    made.ended(flights[0], 50, failed=False, now_s=11.0)
    made.ended(flights[1], 0, failed=True, now_s=11.0)
    made.ended(flights[2], 0, failed=True, now_s=11.0)
    assert (made.in_flight, made.prefill_tokens, made.decoding) == (0, 0, 0)


def test_the_pace_is_weighted_by_tokens_and_grows_old() -> None:
    """A long answer says more about the pace than a short one; after five seconds it is unknown."""
    made = deployment()
    for name, tokens, seconds in (("short", 2, 0.5), ("long", 201, 4.0)):
        flight = made.sent(*planned(name), now_s=10.0)
        made.first_token(flight, 10.0)
        made.ended(flight, tokens, failed=False, now_s=10.0 + seconds)
    assert made.tpot_s(14.0) == pytest.approx(0.022, abs=0.006)
    assert made.tpot_s(20.0) is None


def test_silence_counts_only_while_first_tokens_are_awaited() -> None:
    """A long answer that is being written is no sign of a dead backend."""
    made = deployment()
    flight = made.sent(*planned(), now_s=10.0)
    assert made.signal_age_s(16.0) == 6.0
    made.first_token(flight, 16.0)
    assert made.signal_age_s(60.0) == 0.0


def test_a_queue_before_an_idle_backend_opens_the_limit_first() -> None:
    """The limit goes back to what was in flight before; only a second time is it a sign of illness."""
    made = deployment()
    flights = [made.sent(*planned(f"r{index}"), now_s=0.0) for index in range(40)]
    made.tick(0.5, 0.5, Bias.BALANCED, price_frozen=False)
    for flight in flights[4:]:
        made.ended(flight, 0, failed=False, now_s=1.0)
    made.limit.restore(4)
    made.queue.push(Waiting("q", "t", 3, 99.0, 0.1, 1.0, expires=True))
    for tick in range(8):
        made.tick(0.5, 1.0 + tick / 2, Bias.BALANCED, price_frozen=False)
    assert made.relieve(5.0, 2.0) is False
    assert made.limit.value > 30
    assert made.relieve(8.0, 2.0) is True


def test_late_items_are_those_whose_turn_comes_after_their_deadline() -> None:
    """With a second of work each, the third of three is late for a deadline in two seconds."""
    made = deployment()
    for index in range(3):
        made.queue.push(Waiting(f"r{index}", "t", 3, 2.5, 1.0, 0.0, expires=True))
    assert [item.request_id for item in made.late_items(0.0)] == ["r2"]


def test_what_an_engine_says_counts_while_it_is_young() -> None:
    """A queue inside the engine lowers the limit; five seconds later it is unknown, and not zero."""
    made = deployment()
    for index in range(40):
        made.sent(*planned(f"r{index}"), now_s=0.0)
    made.scraped(EngineLoad(waiting=10.0), 1.0)
    made.tick(0.5, 1.5, Bias.BALANCED, price_frozen=False)
    lowered = made.limit.value
    assert lowered == 36
    step = made.step().limit
    assert step is not None
    assert step.waiting == 10.0
    made.tick(0.5, 7.0, Bias.BALANCED, price_frozen=False)
    later = made.step().limit
    assert later is not None
    assert (later.waiting, made.limit.value) == (None, lowered)
