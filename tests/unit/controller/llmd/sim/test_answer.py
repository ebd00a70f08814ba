"""Answers keep their bounds, fit their tools, and are the same for the same question."""

from dataclasses import replace

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.answer import count_prompt, plan_answer, room_for
from controller.llmd.sim.config import preset
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.text import tokenize
from controller.llmd.sim.wire import Generation, Tool

CONFIG = preset("llmd-demo")
MODEL = CONFIG.models[1]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = (Tool("weather", SCHEMA), Tool("time", {}))


def ask(config=CONFIG, choice=0, room=50, **changes):
    """Return the answer to a short question."""
    generation = Generation("chat", "m", ("what now",), "what now", **changes)
    return plan_answer(config, generation, count_prompt(MODEL, "what now"), choice, room)


@given(st.integers(1, 400), st.integers(0, 50))
def test_an_answer_is_no_longer_than_its_room(room, seed):
    """The reason is length exactly when it was cut."""
    answer, free = ask(room=room, seed=seed), ask(room=5000, seed=seed)
    assert answer.tokens == len(answer.pieces) == min(room, free.tokens)
    assert answer.finish_reason == ("length" if free.tokens > room else "stop")
    assert free.text.startswith(answer.text)


def test_the_same_question_gets_the_same_answer_from_every_model():
    """Choices, body seeds and configuration seeds differ."""
    assert ask() == ask()
    others = [ask(choice=1), ask(seed=1), ask(replace(CONFIG, seed=2))]
    assert all(other.text != ask().text for other in others)


def test_ignore_eos_fills_the_room_and_min_tokens_lengthens():
    """VLLM's two ways to force a length."""
    full = ask(room=3000, ignore_eos=True)
    assert (full.tokens, full.finish_reason) == (3000, "length")
    assert ask(room=3000, min_tokens=2500).tokens == 2500


@pytest.mark.parametrize("stop", [".", " the", "a"])
def test_a_stop_string_ends_the_text_before_it(stop):
    """The stop string itself is computed and counted, and not sent."""
    free, cut = ask(room=200, ignore_eos=True), ask(room=200, ignore_eos=True, stop=(stop, "never-there"))
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert len(cut.pieces) == cut.tokens <= free.tokens


def test_tools_are_called_as_chosen():
    """None never, required always, a name just that one; arguments fit the schema."""
    assert not ask(tools=TOOLS, tool_choice="none").calls
    [call] = ask(tools=TOOLS, tool_choice="=weather").calls
    assert call.name == "weather"
    jsonschema.validate(orjson.loads(call.arguments), SCHEMA)
    answer = ask(tools=TOOLS, tool_choice="required")
    assert answer.finish_reason == "tool_calls"
    assert answer.tokens == sum(1 + len(each.pieces) for each in answer.calls)


def test_auto_calls_at_the_configured_rate_and_never_after_a_result():
    """Half of the questions by default; two calls at once for some, one when parallel calls are off."""
    answers = [ask(tools=TOOLS, tool_choice="auto", seed=seed) for seed in range(400)]
    called = [answer for answer in answers if answer.calls]
    assert len(called) / 400 == pytest.approx(0.5, abs=0.07)
    assert {len(answer.calls) for answer in called} == {1, 2}
    single = [ask(tools=TOOLS, tool_choice="auto", seed=seed, parallel_tools=False) for seed in range(100)]
    assert max(len(answer.calls) for answer in single) == 1
    assert not any(ask(tools=TOOLS, tool_choice="auto", seed=s, after_tool=True).calls for s in range(50))


@given(st.integers(1, 60))
def test_calls_are_cut_at_the_room(room):
    """A call that does not fit is cut inside its arguments, with length as the reason."""
    whole = ask(tools=TOOLS, tool_choice="=weather", room=1000)
    cut = ask(tools=TOOLS, tool_choice="=weather", room=room)
    assert cut.tokens == min(room, whole.tokens)
    assert cut.finish_reason == ("length" if room < whole.tokens else "tool_calls")
    assert whole.calls[0].arguments.startswith(cut.calls[0].arguments)


def test_a_json_schema_is_answered_in_kind():
    """Structured output validates."""
    jsonschema.validate(orjson.loads(ask(schema=SCHEMA, room=200).text), SCHEMA)


def test_echo_says_the_last_user_message_again():
    """Up to the room."""
    echoing = replace(CONFIG, mode="echo")
    assert ask(echoing).text == "what now"
    assert ask(echoing, room=1).text == "what"


def test_prompts_are_counted():
    """Text by tokens, token lists by length; full blocks are hashed."""
    text = "word " * 100
    assert count_prompt(MODEL, text).tokens == len(tokenize(text))
    assert count_prompt(MODEL, (1, 2, 3)).tokens == 3
    assert len(count_prompt(MODEL, text).prefix) == len(tokenize(text)) // 16
    assert count_prompt(MODEL, "").tokens == 1


@pytest.mark.parametrize("changes", [{}, {"tools": TOOLS, "tool_choice": "required"}, {"stop": (".",)}])
def test_what_was_said_is_found_by_a_prompt_that_contains_it(changes):
    """The blocks of prompt and answer lead those of the next turn; a stop string was computed too."""
    answer = ask(room=300, ignore_eos=True, **changes)
    prompt = count_prompt(MODEL, "what now\n")
    said = "".join(answer.said)
    later = count_prompt(MODEL, f"what now\n{said}\nand then? " + "word " * 20)
    computed = (*prompt.prefix, *prompt.blocks_of(answer))
    assert len(answer.said) == answer.tokens
    assert len(computed) == (prompt.tokens + answer.tokens) // MODEL.engine.block_tokens > 0
    assert later.prefix[: len(computed)] == computed
    if not answer.calls:
        assert said.startswith(answer.text)


def test_the_context_bounds_prompt_plus_answer():
    """Beyond it a 400 that gives the numbers; without max_tokens the rest of the context is the room."""
    short = replace(MODEL, engine=replace(MODEL.engine, context_max=100))
    prompt = count_prompt(short, "a " * 45)
    assert room_for(short, prompt, None) == 100 - prompt.tokens
    assert room_for(short, prompt, 5) == 5
    with pytest.raises(ApiError, match="maximum context length is 100 tokens"):
        room_for(short, prompt, 60)
