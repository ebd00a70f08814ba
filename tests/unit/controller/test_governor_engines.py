"""`controller.governor`: what engines are told, and requests that are not one chat answer."""

from __future__ import annotations

from dataclasses import replace

from controller.catalogue import Catalogue
from controller.intent import IntentSet
from controller.llmd.translate import Dialect, Engine, EnginePriority
from tests.kit.control import catalogue
from tests.unit.controller.test_governor import CHAT, Asked, Ending, at, governor, notes


async def test_an_engine_is_told_what_it_understands() -> None:
    """Its own priority in place of the client's, the ceiling of the effort, a salt of the tenant."""
    one = governor(replace(CHAT, reasoning_effort="low"))
    asked = Asked(fields={"priority": 9, "reasoning_effort": "high"})
    plain = await one.admit(asked)
    assert (dict(plain.fields), plain.removed) == ({}, ("priority",))
    one._engines = {"pool": Engine(Dialect.VLLM, EnginePriority.VLLM, isolate_cache=True)}
    reasoning = Catalogue(replace(model, reasoning=True) for model in catalogue())
    one._controller.config = replace(one._controller.config, catalogue=reasoning)
    told = await one.admit(replace(asked, ticket="u"))
    assert dict(told.fields) == {"priority": -3, "reasoning_effort": "low", "cache_salt": "acme"}
    assert told.removed == ()


async def test_several_answers_are_several_times_the_work() -> None:
    """Predicted tokens, cost and what is in flight are multiplied; each has its own ceiling."""
    one = governor()
    single = await one.admit(Asked("a"))
    triple = await one.admit(Asked("b", choices=3, max_tokens=50))
    assert triple.plan.prediction.output_tokens > single.plan.prediction.output_tokens / 5
    assert triple.plan.reserve_uusd == 0.6 * 500 + 1.2 * 150
    assert one._controller.deployments["large"].in_flight == 4
    one.first_token("b")
    one.ended("b", Ending(output_tokens=150))
    assert one._controller.deployments["large"].in_flight == 1
    assert one._controller.deployments["large"].decoding == 0
    table = one._controller._lengths.table("/v1/chat/completions")
    assert table == one._controller.config.lengths_prior


async def test_an_embedding_is_admitted_and_teaches_no_lengths() -> None:
    """No ceiling, no cap, no tokens to write; its end is its first sign of life, and a slot is freed."""
    one = governor()
    terms = await one.admit(Asked(route="/v1/embeddings", stream=False))
    assert (terms.turn, terms.max_tokens, dict(terms.fields)) == ("admitted", None, {})
    assert terms.plan.prediction.output_tokens == 0
    assert terms.plan.prediction.cost_uusd == 300
    large = one._controller.deployments["large"]
    assert (large.in_flight, large.decoding) == (1, 0)
    at(one, 100.2)
    observed = one.ended("t", Ending(output_tokens=0))
    assert observed is not None
    assert observed["met"]
    assert (large.in_flight, large.prefill_tokens, large.coefficients.samples) == (0, 0, 0)
    one.loop.tick()
    assert large.coefficients.samples == 1


async def test_a_ladder_names_the_model_of_auto() -> None:
    """The best rung of the intent that covers the request; an intent without a ladder has none."""
    assert governor().first_rung(Asked(model="auto")) == "large"
    assert governor(replace(CHAT, models=())).first_rung(Asked(model="auto")) is None
    terms = await governor().admit(Asked(model="auto"))
    assert dict(terms.fields) == {"model": "large"}


async def test_other_intents_are_followed_at_once() -> None:
    """The next request is under them; the same set again changes nothing and leaves no record."""
    one = governor()
    other = IntentSet([replace(CHAT, name="gold")])
    assert one.replace_intents(other)
    assert not one.replace_intents(IntentSet([replace(CHAT, name="gold")]))
    assert (await one.admit(Asked())).intent == "gold"
    [(kind, body)] = notes(one).kept
    assert (kind, body["after"]) == ("intents", other.digest)
