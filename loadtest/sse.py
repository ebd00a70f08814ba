"""What a streamed answer says, read as it arrives: first content, chunks, usage, how it ended. Pure.

The first token is the first chunk whose content is not empty: a role or a keep-alive is no token. Tokens are
counted by the backend's usage; where it sends none, by chunks with content.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

_WORTH_READING: Final = (b'"usage"', b'"error"')
"""Later events are read only where they may hold one of these: most are one more token."""
EVENT_BYTES_MAX: Final = 1 << 20
"""An event that is longer is no token; the answer is given up."""


class StreamError(ValueError):
    """The stream is not what an OpenAI-compatible server sends."""


class Stream:
    """One answer in the making. `feed` it the bytes of the body, with the instant they came at."""

    __slots__ = (
        "_rest",
        "chunks",
        "ended",
        "error",
        "first_s",
        "input_tokens",
        "output_tokens",
        "with_content",
    )

    def __init__(self) -> None:
        self.first_s: float | None = None
        self.chunks = 0
        """Events with data, the end mark left out."""
        self.with_content = 0
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.ended = False
        """The end mark came."""
        self.error = ""
        """The code or message of an error inside the stream."""
        self._rest = b""

    @property
    def tokens(self) -> int:
        """Return the tokens of the answer so far."""
        return self.with_content if self.output_tokens is None else self.output_tokens

    def feed(self, data: bytes, now_s: float) -> None:
        """Take in more of the body. Raise StreamError."""
        text = self._rest + data
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n")
        *events, self._rest = text.split(b"\n\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise StreamError(f"an event of the answer is over {EVENT_BYTES_MAX} bytes")
        for event in events:
            self._event(event, now_s)

    def _event(self, event: bytes, now_s: float) -> None:
        if not event.startswith(b"data:"):
            event = b"\n".join(line for line in event.split(b"\n") if line.startswith(b"data:"))
            if not event:
                return
        payload = event[5:].lstrip()
        if payload == b"[DONE]":
            self.ended = True
            return
        self.chunks += 1
        if self.first_s is None or any(mark in payload for mark in _WORTH_READING):
            self._read(payload, now_s)
        else:
            self.with_content += 1

    def _read(self, payload: bytes, now_s: float) -> None:
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise StreamError(f"an event of the answer is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise StreamError("an event of the answer is no JSON object")
        if isinstance(error_value := value.get("error"), dict):
            self.error = str(error_value.get("code") or error_value.get("message") or "error")
        if isinstance(usage := value.get("usage"), dict):
            self.input_tokens = _count(usage.get("prompt_tokens"))
            self.output_tokens = _count(usage.get("completion_tokens"))
        if _content(value):
            self.with_content += 1
            if self.first_s is None:
                self.first_s = now_s


def _content(value: dict[str, Any]) -> bool:
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return False
    delta = choices[0].get("delta")
    if isinstance(delta, dict):
        return bool(delta.get("content") or delta.get("tool_calls"))
    return bool(choices[0].get("text"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
