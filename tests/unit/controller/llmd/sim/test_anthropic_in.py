"""A messages body is read as the chat completion that it stands for."""

import pytest

from controller.llmd.sim.anthropic_in import read_message
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.template import IMAGE_TOKENS
from controller.llmd.sim.text import tokenize
from controller.llmd.sim.wire import read_chat

TOOL = {"name": "refund", "input_schema": {"type": "object", "properties": {"cents": {"type": "integer"}}}}
USER = {"role": "user", "content": "hello"}
BASE = {"model": "m", "max_tokens": 9, "messages": [USER]}


def test_a_conversation_is_the_same_prompt_as_in_chat():
    """System text, calls and their results come in the order of the conversation, with its last role."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "refund", "input": {"cents": 5}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "done"}]}
    message = read_message(
        BASE
        | {
            "system": [{"type": "text", "text": "Be brief."}],
            "messages": [
                USER,
                {"role": "assistant", "content": [{"type": "text", "text": "ok"}, use]},
                {"role": "user", "content": [result]},
            ],
        }
    )
    call = {
        "id": "toolu_1",
        "type": "function",
        "function": {"name": "refund", "arguments": '{"cents":5}'},
    }
    chat = read_chat(
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [
                {"role": "system", "content": "Be brief."},
                USER,
                {"role": "assistant", "content": "ok", "tool_calls": [call]},
                {"role": "tool", "content": "done"},
            ],
        }
    )
    assert message.prompts == chat.prompts
    assert (message.api, message.last_user, message.after_tool) == ("message", "hello", True)
    asked = read_message(
        BASE | {"messages": [{"role": "user", "content": [result, {"type": "text", "text": "so?"}]}]}
    )
    assert (asked.last_user, asked.after_tool) == ("so?", False)


def test_sampling_fields_arrive():
    """Bounds, stop sequences, seed and stream mean what they mean in chat; an image counts tokens."""
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    read = read_message(
        BASE
        | {"stop_sequences": ["END"], "stream": True, "seed": 4, "top_k": 5, "metadata": {"user_id": "u"}}
        | {"messages": [{"role": "user", "content": [image, {"type": "thinking", "thinking": "hm"}]}]}
    )
    assert (read.max_tokens, read.stop, read.stream, read.seed) == (9, ("END",), True, 4)
    assert IMAGE_TOKENS < len(tokenize(str(read.prompts[0]))) < IMAGE_TOKENS + 20
    assert read_message({"model": "m", "messages": [USER]}, counting=True).max_tokens is None


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, "auto", True),
        ({"type": "auto"}, "auto", True),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", False),
        ({"type": "none"}, "none", True),
        ({"type": "tool", "name": "refund"}, "=refund", True),
    ],
)
def test_tool_choices_have_their_equals(choice, expected, parallel):
    """Any is required, tool names one function, none is none."""
    read = read_message(BASE | {"tools": [TOOL], "tool_choice": choice})
    assert (read.tool_choice, read.parallel_tools) == (expected, parallel)
    assert read.tools[0].parameters == TOOL["input_schema"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": None}, "max_tokens is required"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"max_tokens": "9"}, "max_tokens must be an integer"),
        ({"model": ""}, "model must be a non-empty string"),
        ({"messages": []}, "messages must be a non-empty list"),
        ({"messages": "hello"}, "messages must be a non-empty list"),
        ({"messages": ["hello"]}, r"messages\[0\] must be an object"),
        ({"messages": [{"role": "system", "content": "x"}]}, r"messages\[0\].role must be user or assistant"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, r"messages\[0\].role must be user or assistant"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content must be text"),
        ({"messages": [{"role": "user", "content": [5]}]}, r"content\[0\] must be an object with a type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            r"content\[0\].text must be a string",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "image without a source"),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
            "tool_use_id must be a string",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": []}]}
                ]
            },
            "input must be an object",
        ),
        ({"system": 5}, "system must be text"),
        ({"stop_sequences": "END"}, "stop_sequences must be a list"),
        ({"stop_sequences": [""]}, "stop must be"),
        ({"tools": {}}, "tools must be a list"),
        ({"tools": [{"input_schema": {}}]}, r"tools\[0\].name"),
        ({"tools": [{"name": "f", "input_schema": 5}]}, r"tools\[0\].input_schema"),
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice must be an object"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice must be an object"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "names no function"),
        ({"tool_choice": {"type": "any"}}, "tools must be set"),
        ({"temperature": "hot"}, "temperature must be a number"),
    ],
)
def test_wrong_fields_are_named(change, message):
    """A 400 that says where."""
    with pytest.raises(ApiError, match=message) as caught:
        read_message(BASE | change)
    assert caught.value.status == 400
