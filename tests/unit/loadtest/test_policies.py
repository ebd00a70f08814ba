"""A policy of the evaluation before a live gateway: its turn, its limits, its freed slots."""

from __future__ import annotations

import asyncio

from controller.core import Outcome
from controller.evaluate.baselines import Aimd, Simple, StaticLimit
from controller.evaluate.policy import Refuse, Send
from controller.evaluate.split import priority_only
from loadtest import world
from loadtest.policies import PERIOD_S, PolicyGate
from tests.kit.loads import schedule

ASKS = schedule(base_rps=40.0).asks


async def test_what_a_policy_sends_is_sent() -> None:
    """At once where it does not queue, and its end frees a slot once."""
    policy = Simple()
    gate = PolicyGate(policy)
    granted = await gate.admit(ASKS[0], 0.0)
    assert granted == Send(ASKS[0].request_id, "llama-70b", None)
    assert policy.in_flight == 1
    gate.ended(ASKS[0].request_id, Outcome("complete"), 1.0)
    gate.ended(ASKS[0].request_id, Outcome("complete"), 1.0)
    assert policy.in_flight == 0


async def test_what_it_refuses_is_refused() -> None:
    """A bucket of one token a second lets one through."""
    gate = PolicyGate(StaticLimit(1.0))
    assert isinstance(await gate.admit(ASKS[0], 0.0), Send)
    refused = await gate.admit(ASKS[1], 0.0)
    assert isinstance(refused, Refuse)
    gate.ended(ASKS[1].request_id, Outcome("failed"), 0.1)


async def test_who_waits_goes_when_there_is_room() -> None:
    """A queue in front of two places: the third request leaves when the first ends."""
    gate = PolicyGate(priority_only(2, {**world.SLOTS}))
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(gate.admit(ask, 0.0)) for ask in ASKS[:3]]
    done, pending = await asyncio.wait(waiting, timeout=0.1)
    assert (len(done), len(pending)) == (2, 1)
    first = next(iter(done)).result()
    gate.first_token(first.request_id, 0.5)
    gate.ended(first.request_id, Outcome("complete"), 1.0)
    assert isinstance(await next(iter(pending)), Send)


async def test_who_left_the_queue_holds_no_place() -> None:
    """A client that went away before its turn gives the slot to the next."""
    policy = priority_only(1, {**world.SLOTS})
    gate = PolicyGate(policy)
    loop = asyncio.get_running_loop()
    await gate.admit(ASKS[0], 0.0)
    left = loop.create_task(gate.admit(ASKS[1], 0.0))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait([left])
    waiting = loop.create_task(gate.admit(ASKS[2], 0.0))
    await asyncio.sleep(0)
    gate.ended(ASKS[0].request_id, Outcome("complete"), 1.0)
    gate.tick(1.5)
    async with asyncio.timeout(1.0):
        assert isinstance(await waiting, Send)


def test_ticks_are_those_of_the_evaluation() -> None:
    """Half a second, and a policy that has nothing to do is left alone."""
    PolicyGate(Aimd()).tick(1.0)
    assert PERIOD_S == 0.5
