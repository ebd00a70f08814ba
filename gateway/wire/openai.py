"""Requests of the OpenAI API, read as far as a decision needs and no further.

Unknown fields are kept because the body is forwarded as the bytes that came. What is read is
checked, so that a request that cannot succeed costs a backend nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import orjson

from gateway.kernel.bounds import MODEL_NAME_CHARS_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.parse import parse_loose_json
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.fields import (
    is_count,
    missing,
    optional_bool,
    optional_count,
    optional_list,
    required_text,
    wrong,
)
from gateway.wire.inputs import CHARS_PER_TOKEN, chat_chars, message_chars, response_chars, text_chars


class Operation(Enum):
    """What is asked of a model: action type, path, and the field that must be there beside `model`."""

    CHAT = ("llm.chat_completion", "/v1/chat/completions", "messages")
    COMPLETION = ("llm.completion", "/v1/completions", "prompt")
    EMBEDDING = ("llm.embedding", "/v1/embeddings", "input")
    RESPONSE = ("llm.response", "/v1/responses", "")
    MESSAGE = ("llm.message", "/v1/messages", "messages")
    MODELS = ("llm.models", "/v1/models", "")
    OTHER = ("llm.other", "", "")
    """Any other path of a backend, which the configuration lets through unread."""

    def __init__(self, action_type: str, path: str, required: str) -> None:
        self.action_type = action_type
        self.path = path
        self.required = required


@hot_dataclass(frozen=True, slots=True)
class LlmRequest:
    """The facts of one request that go into its decision; never the contents."""

    operation: Operation
    model: str
    stream: bool
    max_tokens: int | None
    estimated_input_tokens: int
    tools_count: int
    choices: int


_USUAL_CEILINGS: Final = ("max_completion_tokens", "max_tokens")
_CEILINGS: Final = {
    Operation.RESPONSE: ("max_output_tokens",),
    Operation.MESSAGE: ("max_tokens",),
}
"""The fields that bound an answer, the one that wins first: as vLLM and OpenAI read them."""
_WORD_CHARS_MAX: Final = 64
"""A longer `reasoning_effort` is none of those that there are."""


def read_llm_request(operation: Operation, body: bytes) -> LlmRequest:
    """Read and check a request body.

    Raises MalformedRequestError where it is no JSON, and InvalidRequestError with a pointer where a
    field is missing or of the wrong type.
    """
    value = parse_loose_json(body)
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be a JSON object", pointer="")
    model = required_text(value, "model")
    if len(model) > MODEL_NAME_CHARS_MAX:
        raise wrong("model", f"at most {MODEL_NAME_CHARS_MAX} characters long")
    if operation.required and operation.required not in value:
        raise missing(operation.required)
    return LlmRequest(
        operation=operation,
        model=model,
        stream=optional_bool(value, "stream"),
        max_tokens=_max_tokens(operation, value),
        estimated_input_tokens=_input_chars(operation, value) // CHARS_PER_TOKEN + 1,
        tools_count=len(optional_list(value, "tools")),
        choices=optional_count(value, "n") or 1,
    )


@hot_dataclass(frozen=True, slots=True)
class Steering:
    """The fields of a checked body that a plan has to know as they are."""

    fields: dict[str, int | str]
    """The ceilings, `reasoning_effort` and `priority`, as far as they are there and of their type."""
    service_tier: str | None


def read_steering(operation: Operation, body: bytes) -> Steering:
    """Read what steers an engine in a body that `read_llm_request` has let pass."""
    value = orjson.loads(body)
    names = _CEILINGS.get(operation, _USUAL_CEILINGS)
    fields: dict[str, int | str] = {name: value[name] for name in names if is_count(value.get(name))}
    effort, priority, tier = value.get("reasoning_effort"), value.get("priority"), value.get("service_tier")
    if isinstance(effort, str) and len(effort) <= _WORD_CHARS_MAX:
        fields["reasoning_effort"] = effort
    if "priority" in value:
        # of whatever type: what matters is that a client must not set it
        fields["priority"] = priority if isinstance(priority, int) else 0
    return Steering(fields=fields, service_tier=tier if isinstance(tier, str) else None)


def read_usage(value: JSON) -> JSONObject | None:
    """Return the token counts of a `usage` object as our records name them, or None where it is none."""
    if not isinstance(value, dict):
        return None
    named = {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens"}
    counts = {ours: count for theirs, ours in named.items() if is_count(count := value.get(theirs))}
    details = value.get("prompt_tokens_details")
    if isinstance(details, dict) and is_count(cached := details.get("cached_tokens")):
        counts["cached_tokens"] = cached
    return counts or None


def is_json(body: bytes) -> bool:
    """Tell whether a body is JSON to its end: so one without a framed end can still be known for whole."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def read_usage_of_body(body: bytes) -> tuple[JSONObject | None, bool]:
    """Return the usage that an answer's body reports, and whether the body is JSON to its end."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, False
    return (read_usage(value.get("usage")) if isinstance(value, dict) else None), True


def _max_tokens(operation: Operation, value: JSONObject) -> int | None:
    """Read the ceiling that wins; all of them are checked."""
    named = [optional_count(value, name) for name in _CEILINGS.get(operation, _USUAL_CEILINGS)]
    return next((count for count in named if count is not None), None)


def _input_chars(operation: Operation, value: JSONObject) -> int:
    if operation is Operation.CHAT:
        return chat_chars(value)
    if operation is Operation.RESPONSE:
        return response_chars(value)
    if operation is Operation.MESSAGE:
        return message_chars(value)
    return text_chars(value[operation.required], f"/{operation.required}")
