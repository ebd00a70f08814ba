"""Answers out, in the shape of the Anthropic Messages API: whole messages, typed events, errors. Pure.

As in vLLM and llm-d-inference-sim, `input_tokens` counts the whole prompt, cached or not, and an answer that
a stop sequence ended says `end_turn`.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from controller.llmd.sim.answer import COLD, Answer, Call
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.shapes import Head, Usage, json_text

_STOP_REASONS: Final = {"length": "max_tokens", "tool_calls": "tool_use", "cache_threshold": "max_tokens"}
_ERRORS: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error_object(error: ApiError) -> dict[str, Any]:
    """Return the error envelope."""
    kind = _ERRORS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def message_body(head: Head, answer: Answer, usage: Usage) -> dict[str, Any]:
    """Return a whole message."""
    content: list[dict[str, Any]] = [_tool_use(call, _input(call)) for call in answer.calls]
    return _message(
        head,
        content or [{"type": "text", "text": answer.text}],
        _stop_reason(answer),
        (usage.prompt_tokens, usage.completion_tokens),
    )


def _message(
    head: Head, content: list[dict[str, Any]], stop_reason: str | None, tokens: tuple[int, int]
) -> dict[str, Any]:
    return {
        "id": head.answer_id,
        "type": "message",
        "role": "assistant",
        "model": head.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": tokens[0],
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens[1],
        },
    }


def _tool_use(call: Call, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{call.call_id[5:]}", "name": call.name, "input": arguments}


def _input(call: Call) -> dict[str, Any]:
    """Return the arguments; `{}` when `max_tokens` cut them in the middle."""
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


class MessageStream:
    """The events of a streamed message: one block for the text, or one for each call."""

    def __init__(self, head: Head, answer: Answer, prompt_tokens: int) -> None:
        self._head = head
        self._answer = answer
        self._prompt_tokens = prompt_tokens
        self._token = 0
        self._block = -1
        self._left = 0

    def token(self, _choice: int) -> bytes:
        """Return the events of the next token; the first one opens the message."""
        opening = self._begin() if not self._token else b""
        index = self._token
        self._token += 1
        if self._answer.calls:
            return opening + self._call_token()
        return opening + self._delta("text", "text", self._answer.pieces[index])

    def finished(self, _choice: int, cold: bool = False) -> bytes:
        """Return the event that closes the last block."""
        if cold:
            self._answer = COLD
            self._block = 0
            return self._started() + _TEXT_BLOCK + _event("content_block_stop", {"index": 0})
        return _event("content_block_stop", {"index": self._block})

    def end(self, usage: Usage) -> bytes:
        """Return the stop reason with the usage, and the end mark."""
        delta = {"stop_reason": _stop_reason(self._answer), "stop_sequence": None}
        tokens = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens}
        return _event("message_delta", {"delta": delta, "usage": tokens}) + _event("message_stop", {})

    def broken(self, error: ApiError) -> bytes:
        """Return the event of a stream that cannot go on."""
        return b"event: error\ndata: " + orjson.dumps(error_object(error)) + b"\n\n"

    def _started(self) -> bytes:
        message = _message(self._head, [], None, (self._prompt_tokens, 0))
        return _event("message_start", {"message": message})

    def _begin(self) -> bytes:
        if self._answer.calls:
            return self._started() + _event("ping", {})
        self._block = 0
        return self._started() + _TEXT_BLOCK + _event("ping", {})

    def _call_token(self) -> bytes:
        if not self._left:
            closing = _event("content_block_stop", {"index": self._block}) if self._block >= 0 else b""
            self._block += 1
            call = self._answer.calls[self._block]
            self._left = len(call.pieces)
            start = {"index": self._block, "content_block": _tool_use(call, {})}
            return closing + _event("content_block_start", start)
        call = self._answer.calls[self._block]
        piece = call.pieces[len(call.pieces) - self._left]
        self._left -= 1
        return self._delta("input_json", "partial_json", piece)

    def _delta(self, kind: str, field: str, piece: str) -> bytes:
        delta = b'{"type":"%s_delta","%s":"%s"}' % (kind.encode(), field.encode(), json_text(piece))
        data = b'{"type":"content_block_delta","index":%d,"delta":%s}' % (self._block, delta)
        return b"event: content_block_delta\ndata: " + data + b"\n\n"


def _stop_reason(answer: Answer) -> str:
    return _STOP_REASONS.get(answer.finish_reason, "end_turn")


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind} | data) + b"\n\n"


_TEXT_BLOCK: Final = _event(
    "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
)
