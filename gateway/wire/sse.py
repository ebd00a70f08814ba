"""Watches a stream of server-sent events go by: is it complete, what did it use, when did content begin.

The bytes are relayed as they came; this only looks. Framing as in the HTML standard (9.2.6): lines
end with LF, CR LF or CR, and an event is its `data:` lines up to a blank line. OpenAI's streams put
one JSON object on one `data:` line, which is what is read here; anything else passes unread.
"""

from __future__ import annotations

from typing import ClassVar, Final

import orjson

from gateway.kernel.bounds import SSE_LINE_BYTES_MAX
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.openai import read_usage

_DONE: Final = b"[DONE]"


class StreamWatch:
    """Feed it chunks in order, cut anywhere; any cutting of the same bytes gives the same findings."""

    findings: ClassVar[None] = None
    """Everything that it finds has a place of its own in an outcome."""

    __slots__ = ("_after_cr", "_held", "_held_bytes", "content_seen", "done", "error_seen", "events", "usage")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._after_cr = False
        self.events = 0
        """`data:` lines seen, `[DONE]` not counted."""
        self.done = False
        """The end mark came: without it the stream was cut, whatever the transport says."""
        self.content_seen = False
        """A delta with text, reasoning or a tool call has come."""
        self.error_seen = False
        """The backend reported an error inside its stream."""
        self.usage: JSONObject | None = None

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes of the stream."""
        if not chunk:
            return
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = chunk.split(b"\n")
        self._hold(first)
        for part in rest:
            self._line(self._release())
            self._hold(part)

    def _hold(self, part: bytes) -> None:
        """Keep a piece of a line whose end has not come. Of a line over the bound only the length is kept."""
        if not part:
            return
        self._held_bytes += len(part)
        if self._held_bytes <= SSE_LINE_BYTES_MAX:
            self._held.append(part)
        else:
            self._held.clear()

    def _release(self) -> bytes:
        line = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return line

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        payload = line[5:].strip()
        if payload == _DONE:
            self.done = True
            return
        self.events += 1
        # Most events are content: only the ones that can change a finding are parsed.
        if not self.content_seen or b'"usage"' in payload or b'"error"' in payload:
            self._event(payload)

    def _event(self, payload: bytes) -> None:
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError:
            return
        if not isinstance(value, dict):
            return
        self.usage = read_usage(value.get("usage")) or self.usage
        self.error_seen = self.error_seen or value.get("error") is not None
        self.content_seen = self.content_seen or _has_content(value)


def _has_content(event: JSONObject) -> bool:
    choices = event.get("choices")
    return isinstance(choices, list) and any(map(_choice_has_content, choices))


def _choice_has_content(choice: JSON) -> bool:
    if not isinstance(choice, dict):
        return False
    if choice.get("text"):
        return True
    delta = choice.get("delta")
    fields = ("content", "tool_calls", "function_call", "reasoning_content", "reasoning", "refusal")
    return isinstance(delta, dict) and any(delta.get(field) for field in fields)


def error_event(error: JSONObject) -> bytes:
    """Return the event that ends a stream honestly after its head has gone: no `[DONE]` follows it."""
    return b"data: " + orjson.dumps({"error": error}) + b"\n\n"
