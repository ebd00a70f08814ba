"""Answers out, in the shapes of chat completions and completions: whole bodies and SSE events. Pure.

A stream shape turns "one more token of choice k" into the bytes of its event; what does not change from
token to token is encoded once. `responses.py` holds the shape of the Responses API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from controller.llmd.sim.answer import COLD, Answer
from controller.llmd.sim.fields import ApiError

DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What every event and body of one answer repeats. `created` is wall seconds."""

    answer_id: str
    created: int
    model: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request, over all choices, and vLLM's per-request metrics when they are told.

    Empty metrics are told as null: an answer with several choices has none.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    metrics: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the usage object of chat completions and completions."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    def told(self) -> dict[str, Any]:
        """Return what a whole body or the last chunk says of the request."""
        metrics = {} if self.metrics is None else {"metrics": self.metrics or None}
        return {"usage": self.as_json()} | metrics


class StreamShape(Protocol):
    """One streamed answer. Calls come in the order of generation."""

    def token(self, choice: int) -> bytes:
        """Return the events of the next token of a choice."""
        ...

    def finished(self, choice: int, cold: bool = False) -> bytes:
        """Return the events of the end of a choice; `cold`: without a token, too little was cached."""
        ...

    def end(self, usage: Usage) -> bytes:
        """Return the last events of the stream."""
        ...

    def broken(self, error: ApiError) -> bytes:
        """Return the event that says why the stream cannot go on; nothing follows it, no end mark either."""
        ...


def sse(data: Any) -> bytes:
    """Return one `data:` event."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def json_text(text: str) -> bytes:
    """Return `text` as the inside of a JSON string, without its quotes."""
    return orjson.dumps(text)[1:-1]


def _fragments(answer: Answer) -> list[tuple[int, str | None]]:
    """One entry a token: (call index or -1, piece), with None for the token that opens a call."""
    if not answer.calls:
        return [(-1, piece) for piece in answer.pieces]
    fragments: list[tuple[int, str | None]] = []
    for index, call in enumerate(answer.calls):
        fragments.append((index, None))
        fragments.extend((index, piece) for piece in call.pieces)
    return fragments


class ChatStream:
    """Chunks of a chat completion, as vLLM sends them."""

    def __init__(self, head: Head, answers: Sequence[Answer], *, include_usage: bool) -> None:
        self._head = head
        self._answers = answers
        self._include_usage = include_usage
        self._fragments = [_fragments(answer) for answer in answers]
        self._next = [0] * len(answers)
        self._before = [self._opening(choice) for choice in range(len(answers))]
        null = b',"usage":null' if include_usage else b""
        self._after = b'"},"logprobs":null,"finish_reason":null}]' + null + b"}\n\n"

    def token(self, choice: int) -> bytes:
        """Return the chunk of the next token; the role comes before the first one."""
        index = self._next[choice]
        self._next[choice] = index + 1
        call, piece = self._fragments[choice][index]
        if call < 0 and piece is not None and index:
            return self._before[choice] + json_text(piece) + self._after
        first = self._chunk(choice, {"role": "assistant", "content": ""}) if not index else b""
        if call < 0:
            return first + self._before[choice] + json_text(piece or "") + self._after
        return first + self._call_chunk(choice, call, piece)

    def finished(self, choice: int, cold: bool = False) -> bytes:
        """Return the chunk with the finish reason."""
        reason = COLD.finish_reason if cold else self._answers[choice].finish_reason
        return self._chunk(choice, {}, reason)

    def end(self, usage: Usage) -> bytes:
        """Return the usage chunk, when asked for, and the end mark."""
        if not self._include_usage:
            return DONE
        return sse(self._base() | {"choices": []} | usage.told()) + DONE

    def broken(self, error: ApiError) -> bytes:
        """Return the error object as an event."""
        return b"data: " + error.body() + b"\n\n"

    def _base(self) -> dict[str, Any]:
        head = self._head
        return {
            "id": head.answer_id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
        }

    def _opening(self, choice: int) -> bytes:
        """Return a content chunk up to its text."""
        opening = {"index": choice, "delta": {"content": ""}}
        encoded = orjson.dumps(self._base() | {"choices": [opening]})
        return b"data: " + encoded[: encoded.rindex(b'"}')]

    def _chunk(self, choice: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        body = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = self._base() | {"choices": [body]}
        return sse(chunk | {"usage": None} if self._include_usage else chunk)

    def _call_chunk(self, choice: int, index: int, piece: str | None) -> bytes:
        call = self._answers[choice].calls[index]
        if piece is not None:
            return self._chunk(choice, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        function = {"name": call.name, "arguments": ""}
        opening = {"index": index, "id": call.call_id, "type": "function", "function": function}
        return self._chunk(choice, {"tool_calls": [opening]})


class CompletionStream:
    """Chunks of a completion. `echoes` are the prompts to repeat before each choice."""

    def __init__(
        self, head: Head, answers: Sequence[Answer], echoes: Sequence[str], *, include_usage: bool
    ) -> None:
        self._head = head
        self._answers = answers
        self._echoes = echoes
        self._include_usage = include_usage
        self._next = [0] * len(answers)

    def token(self, choice: int) -> bytes:
        """Return the chunk of the next token."""
        index = self._next[choice]
        self._next[choice] = index + 1
        echo = self._echoes[choice] if not index else ""
        return self._chunk(choice, echo + self._answers[choice].pieces[index], None)

    def finished(self, choice: int, cold: bool = False) -> bytes:
        """Return the chunk with the finish reason."""
        reason = COLD.finish_reason if cold else self._answers[choice].finish_reason
        return self._chunk(choice, "", reason)

    def end(self, usage: Usage) -> bytes:
        """Return the usage chunk, when asked for, and the end mark."""
        if not self._include_usage:
            return DONE
        return sse(self._base() | {"choices": []} | usage.told()) + DONE

    def broken(self, error: ApiError) -> bytes:
        """Return the error object as an event."""
        return b"data: " + error.body() + b"\n\n"

    def _base(self) -> dict[str, Any]:
        head = self._head
        return {
            "id": head.answer_id,
            "object": "text_completion",
            "created": head.created,
            "model": head.model,
        }

    def _chunk(self, choice: int, text: str, finish: str | None) -> bytes:
        body = {"index": choice, "text": text, "logprobs": None, "finish_reason": finish}
        return sse(self._base() | {"choices": [body]})


def chat_body(head: Head, answers: Sequence[Answer], usage: Usage) -> dict[str, Any]:
    """Return a whole chat completion."""
    choices = []
    for index, answer in enumerate(answers):
        message: dict[str, Any] = {"role": "assistant", "content": answer.text if not answer.calls else None}
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in answer.calls
            ]
        choices.append(
            {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        )
    return {
        "id": head.answer_id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "choices": choices,
    } | usage.told()


def completion_body(
    head: Head, answers: Sequence[Answer], echoes: Sequence[str], usage: Usage
) -> dict[str, Any]:
    """Return a whole completion."""
    return {
        "id": head.answer_id,
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "choices": [
            {
                "index": index,
                "text": echo + answer.text,
                "logprobs": None,
                "finish_reason": answer.finish_reason,
            }
            for index, (answer, echo) in enumerate(zip(answers, echoes, strict=True))
        ],
    } | usage.told()
