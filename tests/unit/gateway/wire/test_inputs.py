"""How long inputs are."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.kernel.errors import InvalidRequestError
from gateway.wire.inputs import chat_chars, message_chars, response_chars, text_chars

USER = {"role": "user", "content": "abcd"}


def test_chats() -> None:
    """Texts and parts of text count; images and empty contents do not."""
    parts = [{"type": "text", "text": "xy"}, {"type": "image_url"}, "odd"]
    messages = [USER, {"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    assert chat_chars({"messages": messages}) == 6


def test_messages_count_the_system_prompt() -> None:
    """As a text or as blocks."""
    assert message_chars({"messages": [USER], "system": "abc"}) == 7
    assert message_chars({"messages": [USER], "system": [{"type": "text", "text": "ab"}]}) == 6
    with pytest.raises(InvalidRequestError) as caught:
        message_chars({"messages": [USER], "system": 1})
    assert caught.value.pointer == "/system"


@pytest.mark.parametrize(
    ("value", "chars"),
    [
        ({"input": "abc"}, 3),
        ({"input": "abc", "instructions": "de"}, 5),
        ({"input": [USER]}, 4),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "ab"}]}]}, 2),
        ({"input": [{"type": "function_call_output", "output": "abc"}]}, 3),
        ({"input": [{"type": "item_reference", "id": "x"}]}, 0),
        ({"prompt": {"id": "p"}}, 0),
        ({"previous_response_id": "r", "instructions": "ab"}, 2),
    ],
)
def test_responses(value: Any, chars: int) -> None:
    """Input is a text, items, or stored somewhere else, where it is not seen."""
    assert response_chars(value) == chars


@pytest.mark.parametrize(
    ("value", "pointer"), [({}, "/input"), ({"input": 1}, "/input"), ({"input": ["x"]}, "/input/0")]
)
def test_responses_without_input(value: Any, pointer: str) -> None:
    """What is no input is named."""
    with pytest.raises(InvalidRequestError) as caught:
        response_chars(value)
    assert caught.value.pointer == pointer


def test_prompts() -> None:
    """A prompt is a text, tokens, or a list of either; a token counts for four characters."""
    assert text_chars("abc", "/p") == 3
    assert text_chars(["ab", [1, 2], 3], "/p") == 2 + 8 + 4
    for bad in ([], 1, [{}], [[True]]):
        with pytest.raises(InvalidRequestError):
            text_chars(bad, "/p")
