"""How long the input of a request is, in characters: enough to estimate its tokens, and no text is kept."""

from __future__ import annotations

from typing import Final

from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.fields import is_count, missing, wrong

CHARS_PER_TOKEN: Final = 4
"""English prose in the tokenizers of Llama and GPT has 3.9 to 4.4 characters a token."""
_STORED: Final = ("prompt", "previous_response_id", "conversation")
"""Where a response may take its input from instead of having it in the body."""


def chat_chars(value: JSONObject) -> int:
    """Measure the messages of a chat completion."""
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "a non-empty list")
    chars = 0
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequestError("a message must be an object", pointer=f"/messages/{index}")
        if not isinstance(message.get("role"), str):
            raise InvalidRequestError("a message needs a `role`", pointer=f"/messages/{index}/role")
        content = message.get("content")
        if isinstance(content, str):
            chars += len(content)
        elif isinstance(content, list):
            chars += sum(_part_chars(part) for part in content)
        elif content is not None:
            raise InvalidRequestError(
                "`content` must be a string, a list of parts, or null",
                pointer=f"/messages/{index}/content",
            )
    return chars


def message_chars(value: JSONObject) -> int:
    """Measure the messages and the system prompt of Anthropic's API."""
    system = value.get("system")
    if system is not None and not isinstance(system, str | list):
        raise wrong("system", "a string or a list of text blocks")
    chars = len(system) if isinstance(system, str) else sum(map(_part_chars, system or ()))
    return chars + chat_chars(value)


def response_chars(value: JSONObject) -> int:
    """Measure the input and the instructions of a response. Items of stored conversations are not seen."""
    instructions = value.get("instructions")
    chars = len(instructions) if isinstance(instructions, str) else 0
    given = value.get("input")
    if given is None:
        if any(value.get(name) is not None for name in _STORED):
            return chars
        raise missing("input")
    if isinstance(given, str):
        return chars + len(given)
    if not isinstance(given, list):
        raise wrong("input", "a string or a list of items")
    for at, item in enumerate(given):
        if not isinstance(item, dict):
            raise InvalidRequestError("an item must be an object", pointer=f"/input/{at}")
        chars += _loose_chars(item.get("content")) + _loose_chars(item.get("output"))
    return chars


def text_chars(value: JSON, pointer: str) -> int:
    """Measure `prompt` or `input`: a string, token ids, or a list of either."""
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, list) or not value:
        raise InvalidRequestError("must be a string or a non-empty list", pointer=pointer)
    chars = 0
    for index, item in enumerate(value):
        if isinstance(item, str):
            chars += len(item)
        elif is_count(item):
            chars += CHARS_PER_TOKEN
        elif isinstance(item, list) and all(map(is_count, item)):
            chars += len(item) * CHARS_PER_TOKEN
        else:
            raise InvalidRequestError(
                "must be a string, a token id, or a list of token ids", pointer=f"{pointer}/{index}"
            )
    return chars


def _part_chars(part: JSON) -> int:
    text = part.get("text") if isinstance(part, dict) else None
    return len(text) if isinstance(text, str) else 0


def _loose_chars(content: JSON) -> int:
    if isinstance(content, list):
        return sum(map(_part_chars, content))
    return len(content) if isinstance(content, str) else 0
