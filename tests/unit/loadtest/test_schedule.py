"""Schedules: the same for the same seed, open loop, with tool actions of their own."""

from __future__ import annotations

from dataclasses import replace

from controller.evaluate.arms.data import Spans
from loadtest import world
from loadtest.schedule import Load, make_schedule

LOAD = Load("spike", Spans(10.0, 10.0, 10.0), 4.0, 2.0, 3.0, world.kinds(), world.MAX_TOKENS)


def test_a_seed_is_a_load() -> None:
    """The same seed gives the same bytes at the same instants; another seed another load."""
    one, two, other = (make_schedule(LOAD, seed, world.cluster()) for seed in (1, 1, 2))
    assert one == two
    assert one.digest != other.digest


def test_it_follows_the_shape() -> None:
    """Four times as many in the spike, in order, LLM requests and tool actions alike."""
    busy = replace(LOAD, base_rps=20.0, tools_rps=20.0)
    schedule = make_schedule(busy, 1)
    for some in (schedule.asks, schedule.acts):
        times = [one.at_s for one in some]
        spike = sum(10 <= at < 20 for at in times)
        assert 3.0 < spike / ((len(times) - spike) / 2) < 5.0
    merged = schedule.in_order()
    assert [one.at_s for one in merged] == sorted(one.at_s for one in merged)
    assert len(merged) == len(schedule.asks) + len(schedule.acts)


def test_jobs_know_what_the_simulator_will_answer() -> None:
    """Tokens read and written are those that the twin in virtual time is given."""
    schedule = make_schedule(LOAD, 1, world.cluster())
    lengths = [ask.job.output_tokens for ask in schedule.asks]
    assert max(lengths) == world.MAX_TOKENS
    assert min(lengths) >= 7
    assert all(ask.job.max_tokens == world.MAX_TOKENS for ask in schedule.asks)


def test_no_tool_actions_where_none_are_wanted() -> None:
    """And the LLM requests do not change for it: each purpose has its own draws."""
    without = make_schedule(replace(LOAD, tools_rps=0.0), 1)
    assert without.acts == ()
    assert without.asks == make_schedule(LOAD, 1).asks


def test_classes_have_their_shares() -> None:
    """About a fifth premium, half standard, the rest batch; each asks for its preferred model."""
    asks = make_schedule(replace(LOAD, base_rps=40.0), 1).asks
    shares = {kind.name: sum(ask.service == kind.name for ask in asks) / len(asks) for kind in world.kinds()}
    assert abs(shares["premium"] - 0.2) < 0.04
    assert abs(shares["standard"] - 0.5) < 0.04
    assert {ask.model for ask in asks} == {"llama-70b"}
    assert b'"model":"other"' in asks[0].body("other")
