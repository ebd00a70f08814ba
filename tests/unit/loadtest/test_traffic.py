"""Bodies: prompts of the wanted size that share no prefix, refunds that the policy tells apart."""

from __future__ import annotations

import random

import orjson
import pytest

from controller.llmd.sim.answer import count_prompt
from controller.llmd.sim.fields import read_body
from controller.llmd.sim.wire import read_chat
from gateway.records.request import validate_request
from gateway.wire.openai import Operation, read_llm_request
from loadtest.traffic import chat_body, chat_tail, prompt, refund_body, refund_tail
from loadtest.world import cluster


@pytest.mark.parametrize("tokens", [20, 500, 4000])
def test_prompts_have_the_tokens_that_were_wanted(tokens: int) -> None:
    """As the simulator counts them, and within one in a hundred or ten as the gateway does."""
    body = chat_body("llama-70b", chat_tail(prompt(7, tokens, random.Random(1)), max_tokens=128))
    counted = count_prompt(cluster().models[0], read_chat(read_body(body)).prompts[0])
    assert counted.tokens == tokens
    facts = read_llm_request(Operation.CHAT, body)
    assert abs(facts.estimated_input_tokens - tokens) <= 12
    assert (facts.model, facts.stream, facts.max_tokens) == ("llama-70b", True, 128)


def test_no_two_prompts_begin_alike() -> None:
    """A prefix cache finds nothing: the first block of each holds its number."""
    begins = {prompt(number, 100, random.Random(1))[:40] for number in range(500)}
    assert len(begins) == 500


def test_the_same_draw_is_the_same_prompt() -> None:
    """Arms carry the same bytes."""
    assert prompt(1, 300, random.Random("a")) == prompt(1, 300, random.Random("a"))


def test_refunds_are_valid_and_differ() -> None:
    """Each is a DecisionRequest; the draw decides the amount, the run the request id."""
    amounts = []
    for u in (0.0, 0.69, 0.71, 0.95):
        value = orjson.loads(refund_body("run-7", refund_tail("7", u)))
        validate_request(value)
        assert value["request_id"] == "run-7"
        amounts.append(value["action"]["amount"]["value"])
    assert amounts == [12.5, 12.5, 950.0, 40.0]


def test_further_members_are_passed() -> None:
    """What a backend needs beside the usual stands in the body."""
    body = chat_body("m", chat_tail("hi", max_tokens=5, extra={"ignore_eos": True}))
    assert orjson.loads(body)["ignore_eos"] is True
