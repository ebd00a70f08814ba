"""What an answer looks like in each API: the whole body, the stream, the id. Pure.

The shapes themselves are in `shapes.py` (OpenAI), `responses.py`, `anthropic_out.py` and, for vLLM's own
`/inference/v1/generate`, here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from controller.llmd.sim.answer import COLD, Answer
from controller.llmd.sim.anthropic_out import MessageStream, message_body
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.responses import ResponseStream, response_body
from controller.llmd.sim.shapes import (
    DONE,
    ChatStream,
    CompletionStream,
    Head,
    StreamShape,
    Usage,
    chat_body,
    completion_body,
    sse,
)
from controller.llmd.sim.text import token_id
from controller.llmd.sim.wire import Generation

ID_PREFIXES: Final = {
    "chat": "chatcmpl-",
    "completion": "cmpl-",
    "response": "resp_",
    "message": "msg_",
    "generate": "generate-",
}
PREFILLED: Final = {
    "do_remote_decode": False,
    "do_remote_prefill": True,
    "remote_engine_id": "DUMMY_ID",
    "remote_block_ids": ["DUMMY_ID"],
    "remote_host": "DUMMY",
    "remote_port": 1234,
    "tp_size": 1,
}
"""What a prefill server tells the decode server; llm-d-inference-sim says the same."""


def body_of(
    generation: Generation, head: Head, answers: Sequence[Answer], echoes: Sequence[str], usage: Usage
) -> dict[str, Any]:
    """Return a whole answer."""
    match generation.api:
        case "response":
            return response_body(head, answers[0], usage)
        case "message":
            return message_body(head, answers[0], usage)
        case "chat":
            body = chat_body(head, answers, usage)
        case "completion":
            body = completion_body(head, answers, echoes, usage)
        case _:
            body = generate_body(head, answers[0])
    return body | {"kv_transfer_params": PREFILLED} if generation.remote_decode else body


def stream_of(
    generation: Generation, head: Head, answers: list[Answer], echoes: list[str], prompt_tokens: int
) -> StreamShape:
    """Return the stream of an answer."""
    match generation.api:
        case "chat":
            return ChatStream(head, answers, include_usage=generation.include_usage)
        case "completion":
            return CompletionStream(head, answers, echoes, include_usage=generation.include_usage)
        case "response":
            return ResponseStream(head, answers[0])
        case "message":
            return MessageStream(head, answers[0], prompt_tokens)
        case _:
            return GenerateStream(head, answers[0], include_usage=generation.include_usage)


def generate_body(head: Head, answer: Answer) -> dict[str, Any]:
    """Return a whole answer in token ids."""
    ids = [token_id(token) for token in answer.said]
    choice = {"index": 0, "token_ids": ids, "finish_reason": answer.finish_reason}
    return {"request_id": head.answer_id, "choices": [choice]}


class GenerateStream:
    """Token ids, one event each; the last one carries the finish reason."""

    def __init__(self, head: Head, answer: Answer, *, include_usage: bool) -> None:
        self._head = head
        self._answer = answer
        self._include_usage = include_usage
        self._next = 0

    def token(self, _choice: int) -> bytes:
        """Return the event of the next token."""
        index = self._next
        self._next = index + 1
        last = self._next == len(self._answer.said)
        return self._event([token_id(self._answer.said[index])], self._answer.finish_reason if last else None)

    def finished(self, _choice: int, cold: bool = False) -> bytes:
        """Return the finish reason of an answer without tokens."""
        return self._event([], COLD.finish_reason) if cold else b""

    def end(self, usage: Usage) -> bytes:
        """Return the usage, when asked for, and the end mark."""
        if not self._include_usage:
            return DONE
        return sse({"request_id": self._head.answer_id, "choices": []} | usage.told()) + DONE

    def broken(self, error: ApiError) -> bytes:
        """Return the error object as an event."""
        return b"data: " + error.body() + b"\n\n"

    def _event(self, ids: list[int], finish: str | None) -> bytes:
        choice = {"index": 0, "token_ids": ids, "finish_reason": finish}
        return sse({"request_id": self._head.answer_id, "choices": [choice]})
