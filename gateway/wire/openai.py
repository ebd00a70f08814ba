"""Requests of the OpenAI API, read as far as a decision needs and no further.

Unknown fields are kept because the body is forwarded as the bytes that came. What is read is
checked, so that a request that cannot succeed costs a backend nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import orjson

from gateway.kernel.bounds import MODEL_NAME_CHARS_MAX, WHOLE_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.parse import parse_loose_json
from gateway.kernel.types import JSON, JSONObject


class Operation(Enum):
    """What is asked of a model: action type, path, and the field that must be there beside `model`."""

    CHAT = ("llm.chat_completion", "/v1/chat/completions", "messages")
    COMPLETION = ("llm.completion", "/v1/completions", "prompt")
    EMBEDDING = ("llm.embedding", "/v1/embeddings", "input")
    MODELS = ("llm.models", "/v1/models", "")

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


_CHARS_PER_TOKEN: Final = 4
"""English prose in the tokenizers of Llama and GPT has 3.9 to 4.4 characters a token."""


def read_llm_request(operation: Operation, body: bytes) -> LlmRequest:
    """Read and check a request body.

    Raises MalformedRequestError where it is no JSON, and InvalidRequestError with a pointer where a
    field is missing or of the wrong type.
    """
    value = parse_loose_json(body)
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be a JSON object", pointer="")
    model = _required_text(value, "model")
    if len(model) > MODEL_NAME_CHARS_MAX:
        raise _wrong("model", f"at most {MODEL_NAME_CHARS_MAX} characters long")
    if operation.required not in value:
        raise _missing(operation.required)
    return LlmRequest(
        operation=operation,
        model=model,
        stream=_optional_bool(value, "stream"),
        max_tokens=_max_tokens(value),
        estimated_input_tokens=_input_chars(operation, value) // _CHARS_PER_TOKEN + 1,
        tools_count=len(_optional_list(value, "tools")),
        choices=_optional_count(value, "n") or 1,
    )


@hot_dataclass(frozen=True, slots=True)
class Steering:
    """The fields of a checked body that a plan has to know as they are."""

    ceilings: dict[str, int]
    service_tier: str | None


def read_steering(body: bytes) -> Steering:
    """Read the ceilings and the tier of a body that `read_llm_request` has let pass."""
    value = orjson.loads(body)
    names = ("max_completion_tokens", "max_tokens")
    tier = value.get("service_tier")
    return Steering(
        ceilings={name: value[name] for name in names if _is_count(value.get(name))},
        service_tier=tier if isinstance(tier, str) else None,
    )


def read_usage(value: JSON) -> JSONObject | None:
    """Return the token counts of a `usage` object as our records name them, or None where it is none."""
    if not isinstance(value, dict):
        return None
    named = {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens"}
    counts = {ours: count for theirs, ours in named.items() if _is_count(count := value.get(theirs))}
    details = value.get("prompt_tokens_details")
    if isinstance(details, dict) and _is_count(cached := details.get("cached_tokens")):
        counts["cached_tokens"] = cached
    return counts or None


def read_usage_of_body(body: bytes) -> tuple[JSONObject | None, bool]:
    """Return the usage that an answer's body reports, and whether the body is JSON to its end."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, False
    return (read_usage(value.get("usage")) if isinstance(value, dict) else None), True


def _is_count(value: JSON) -> bool:
    """Tell whether a value is a count that a record can hold exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= WHOLE_MAX


def _missing(field: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{field}` is required", pointer=f"/{field}")


def _wrong(field: str, wanted: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{field}` must be {wanted}", pointer=f"/{field}")


def _required_text(value: JSONObject, field: str) -> str:
    if field not in value:
        raise _missing(field)
    text = value[field]
    if not isinstance(text, str) or not text.strip():
        raise _wrong(field, "a non-empty string")
    return text


def _optional_bool(value: JSONObject, field: str) -> bool:
    flag = value.get(field)
    if flag is None:
        return False
    if not isinstance(flag, bool):
        raise _wrong(field, "true or false")
    return flag


def _optional_list(value: JSONObject, field: str) -> list[JSON]:
    items = value.get(field)
    if items is None:
        return []
    if not isinstance(items, list):
        raise _wrong(field, "a list")
    return items


def _optional_count(value: JSONObject, field: str) -> int | None:
    count = value.get(field)
    if count is None:
        return None
    if not _is_count(count) or count == 0:
        raise _wrong(field, "a positive whole number")
    return int(count)


def _max_tokens(value: JSONObject) -> int | None:
    """Read `max_completion_tokens` first and `max_tokens` where it is absent, as vLLM and OpenAI do."""
    newer = _optional_count(value, "max_completion_tokens")
    older = _optional_count(value, "max_tokens")
    return older if newer is None else newer


def _input_chars(operation: Operation, value: JSONObject) -> int:
    if operation is Operation.CHAT:
        return _message_chars(value)
    return _text_chars(value[operation.required], f"/{operation.required}")


def _message_chars(value: JSONObject) -> int:
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", "a non-empty list")
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


def _part_chars(part: JSON) -> int:
    text = part.get("text") if isinstance(part, dict) else None
    return len(text) if isinstance(text, str) else 0


def _text_chars(value: JSON, pointer: str) -> int:
    """Measure `prompt` or `input`: a string, token ids, or a list of either."""
    if isinstance(value, str):
        return len(value)
    if not isinstance(value, list) or not value:
        raise InvalidRequestError("must be a string or a non-empty list", pointer=pointer)
    chars = 0
    for index, item in enumerate(value):
        if isinstance(item, str):
            chars += len(item)
        elif _is_count(item):
            chars += _CHARS_PER_TOKEN
        elif isinstance(item, list) and all(map(_is_count, item)):
            chars += len(item) * _CHARS_PER_TOKEN
        else:
            raise InvalidRequestError(
                "must be a string, a token id, or a list of token ids", pointer=f"{pointer}/{index}"
            )
    return chars
