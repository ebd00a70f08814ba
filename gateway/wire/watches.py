"""Watches of the streams that are not chat completions: when they end, what they used, when content began.

The Responses API ends with an event that carries the whole response, Anthropic's Messages with
`message_stop`. Like `StreamWatch` these only look, and any cutting of the same bytes gives the same findings.
"""

from __future__ import annotations

from typing import Final

import orjson

from gateway.kernel.types import JSON, JSONObject
from gateway.wire.fields import is_count
from gateway.wire.sse import StreamWatch

_ENDS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILURES: Final = frozenset({"response.failed", "error"})
_TELLING: Final = (b"response.completed", b"response.incomplete", b"response.failed", b'"error"')
_MESSAGE_TELLING: Final = (b"message_", b'"error"')


class ResponseWatch(StreamWatch):
    """Watches a streamed response."""

    __slots__ = ()

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        self.events += 1
        if not self.content_seen or any(word in line for word in _TELLING):
            value = _read(line[5:])
            kind = value.get("type")
            if kind in _FAILURES:
                self.error_seen = True
            elif kind in _ENDS:
                self.done = True
            elif isinstance(kind, str) and kind.endswith(".delta") and value.get("delta"):
                self.content_seen = True
            response = value.get("response")
            if isinstance(response, dict):
                self.usage = read_token_usage(response.get("usage")) or self.usage


class MessageWatch(StreamWatch):
    """Watches a streamed message. Its input is counted at the start, its output at the end."""

    __slots__ = ()

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        self.events += 1
        if not self.content_seen or any(word in line for word in _MESSAGE_TELLING):
            value = _read(line[5:])
            kind = value.get("type")
            if kind == "message_stop":
                self.done = True
            elif kind == "error":
                self.error_seen = True
            elif kind == "content_block_delta":
                self.content_seen = True
            message = value.get("message")
            begun = message.get("usage") if isinstance(message, dict) else None
            counts = read_token_usage(begun) or read_token_usage(value.get("usage"))
            if counts is not None:
                self.usage = {**(self.usage or {}), **counts}


def read_token_usage(value: JSON) -> JSONObject | None:
    """Return the counts of a `usage` with input and output tokens, as our records name them, or None.

    Anthropic counts cached input apart from the rest, OpenAI as a part of it; our prompt tokens hold both.
    """
    if not isinstance(value, dict):
        return None
    counts: JSONObject = {}
    if is_count(value.get("output_tokens")):
        counts["completion_tokens"] = value["output_tokens"]
    details = value.get("input_tokens_details")
    cached = value.get("cache_read_input_tokens")
    if is_count(value.get("input_tokens")):
        counts["prompt_tokens"] = value["input_tokens"]
        for apart in (cached, value.get("cache_creation_input_tokens")):
            counts["prompt_tokens"] += apart if is_count(apart) else 0
    if isinstance(details, dict):
        cached = details.get("cached_tokens")
    if "prompt_tokens" in counts and is_count(cached):
        counts["cached_tokens"] = cached
    return counts or None


def read_token_usage_of_body(body: bytes) -> tuple[JSONObject | None, bool]:
    """Return the usage that an answer's body reports, and whether the body is JSON to its end."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, False
    return (read_token_usage(value.get("usage")) if isinstance(value, dict) else None), True


def _read(data: bytes) -> JSONObject:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
