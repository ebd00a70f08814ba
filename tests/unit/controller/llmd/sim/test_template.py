"""Messages become one prompt, in which what a model said stands as it said it."""

import pytest

from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.template import IMAGE_TOKENS, call_text, render
from controller.llmd.sim.text import tokenize

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def text_of(*messages):
    """Return the prompt of these messages."""
    return "".join(render(list(messages), "messages").text)


def test_messages_follow_each_other_and_the_model_is_next():
    """Roles are marked, text parts join, an empty content is an empty message."""
    parts = [{"type": "text", "text": "a"}, "b"]
    rendered = render([{"role": "system"}, {"role": "user", "content": parts}], "messages")
    assert "".join(rendered.text) == "<system>\n\n<user>\nab\n<assistant>\n"
    assert (rendered.last_user, rendered.after_tool) == ("ab", False)


def test_an_image_costs_its_tokens_and_is_told_from_another():
    """It is not part of what echo mode repeats."""
    plain = {"role": "user", "content": [{"type": "text", "text": "look"}]}
    with_image = {"role": "user", "content": [{"type": "text", "text": "look"}, IMAGE]}
    other = {
        "role": "user",
        "content": [{"type": "text", "text": "look"}, IMAGE | {"image_url": {"url": "b"}}],
    }
    assert len(tokenize(text_of(with_image))) == len(tokenize(text_of(plain))) + IMAGE_TOKENS
    assert text_of(with_image) != text_of(other)
    assert render([with_image], "messages").last_user == "look"


def test_calls_stand_in_a_prompt_as_they_were_said():
    """In chat as fields of the assistant's message, in responses as items in a row: the same text."""
    calls = [("f", '{"a":1}'), ("g", "{}")]
    said = "".join(call_text(*call) for call in calls)
    fields = [{"id": "c", "type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    chat = text_of({"role": "assistant", "content": None, "tool_calls": fields})
    assert chat == f"<assistant>\n{said}\n<assistant>\n"
    turns = [{"type": "function_call", "call_id": "c", "name": n, "arguments": a} for n, a in calls]
    assert text_of(*turns) == chat
    assert len(tokenize(call_text("a_long_name_of_a_function", ""))) == 1


@pytest.mark.parametrize("result", [{"role": "tool"}, {"type": "function_call_output", "output": "r"}])
def test_a_result_last_is_seen(result):
    """After it a model answers in text."""
    assert render([{"role": "user", "content": "x"}, result], "input").after_tool


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("hi", r"messages\[0\] must be an object"),
        ({"content": "x"}, r"messages\[0\].role"),
        ({"role": "user", "content": 5}, r"messages\[0\].content"),
        ({"role": "user", "content": [{}]}, "a part without a type"),
        ({"role": "assistant", "tool_calls": [5]}, "must hold functions"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": 5}}]}, "name of a call"),
        ({"role": "assistant", "tool_calls": "f"}, "tool_calls must be a list"),
        ({"type": "function_call", "name": "f", "arguments": {}}, "arguments of a call"),
    ],
)
def test_what_is_no_message_is_refused(message, named):
    """A 400 that says where."""
    with pytest.raises(ApiError, match=named):
        render([message], "messages")
