"""Answers out, in the shape of the Responses API: a whole response and its stream of typed events. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from controller.llmd.sim.answer import COLD, Answer, Call
from controller.llmd.sim.fields import ApiError
from controller.llmd.sim.shapes import Head, Usage


def response_body(
    head: Head, answer: Answer, usage: Usage | None, status: str = "completed"
) -> dict[str, Any]:
    """Return a response object; without usage it is one that has only begun."""
    cut = answer.finish_reason == "length" and usage is not None
    return {
        "id": head.answer_id,
        "object": "response",
        "created_at": head.created,
        "status": "incomplete" if cut else status,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "error": None,
        "instructions": None,
        "metadata": {},
        "model": head.model,
        "output": _items(head, answer) if usage is not None else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None if usage is None else _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _items(head: Head, answer: Answer) -> list[dict[str, Any]]:
    if answer.calls:
        return [_call_item(call, "completed", call.arguments) for call in answer.calls]
    if answer is COLD:
        return []
    return [_message_item(head, "completed", [_text_part(answer.text)])]


def _call_item(call: Call, status: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"fc_{call.call_id[5:]}",
        "type": "function_call",
        "call_id": call.call_id,
        "name": call.name,
        "arguments": arguments,
        "status": status,
    }


def _message_item(head: Head, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    item_id = f"msg_{head.answer_id[5:]}"
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class ResponseStream:
    """The events of a streamed response, with one item for the text or one for each call."""

    def __init__(self, head: Head, answer: Answer) -> None:
        self._head = head
        self._answer = answer
        self._sequence = 0
        self._token = 0
        self._call = -1
        self._left = 0

    def token(self, _choice: int) -> bytes:
        """Return the events of the next token."""
        opening = self._begin() if not self._token else b""
        index = self._token
        self._token += 1
        if self._answer.calls:
            return opening + self._call_token()
        where = {"item_id": f"msg_{self._head.answer_id[5:]}", "output_index": 0, "content_index": 0}
        delta = {"delta": self._answer.pieces[index], "logprobs": []}
        return opening + self._event("response.output_text.delta", where | delta)

    def finished(self, _choice: int, cold: bool = False) -> bytes:
        """Return the events that close the last item."""
        if cold:
            self._answer = COLD
            return self._opened()
        if self._answer.calls:
            return self._close_call()
        text = self._answer.text
        where = {"item_id": f"msg_{self._head.answer_id[5:]}", "output_index": 0, "content_index": 0}
        return (
            self._event("response.output_text.done", where | {"text": text, "logprobs": []})
            + self._event("response.content_part.done", where | {"part": _text_part(text)})
            + self._event(
                "response.output_item.done",
                {"output_index": 0, "item": _message_item(self._head, "completed", [_text_part(text)])},
            )
        )

    def end(self, usage: Usage) -> bytes:
        """Return the closing event with the whole response."""
        body = response_body(self._head, self._answer, usage)
        name = "response.completed" if body["status"] == "completed" else "response.incomplete"
        return self._event(name, {"response": body})

    def broken(self, error: ApiError) -> bytes:
        """Return the event of a stream that cannot go on."""
        told = {"code": str(error.status), "message": error.message, "param": error.param}
        return self._event("error", told)

    def _opened(self) -> bytes:
        begun = {"response": response_body(self._head, self._answer, None, "in_progress")}
        return self._event("response.created", begun) + self._event("response.in_progress", begun)

    def _begin(self) -> bytes:
        events = self._opened()
        if self._answer.calls:
            return events
        item = _message_item(self._head, "in_progress", [])
        part = {"item_id": item["id"], "output_index": 0, "content_index": 0, "part": _text_part("")}
        return (
            events
            + self._event("response.output_item.added", {"output_index": 0, "item": item})
            + self._event("response.content_part.added", part)
        )

    def _call_token(self) -> bytes:
        if not self._left:
            closing = self._close_call() if self._call >= 0 else b""
            self._call += 1
            call = self._answer.calls[self._call]
            self._left = len(call.pieces)
            item = _call_item(call, "in_progress", "")
            return closing + self._event(
                "response.output_item.added", {"output_index": self._call, "item": item}
            )
        call = self._answer.calls[self._call]
        piece = call.pieces[len(call.pieces) - self._left]
        self._left -= 1
        where = {"item_id": f"fc_{call.call_id[5:]}", "output_index": self._call, "delta": piece}
        return self._event("response.function_call_arguments.delta", where)

    def _close_call(self) -> bytes:
        call = self._answer.calls[self._call]
        item = _call_item(call, "completed", call.arguments)
        where = {"item_id": item["id"], "output_index": self._call}
        done = where | {"name": call.name, "arguments": call.arguments}
        return self._event("response.function_call_arguments.done", done) + self._event(
            "response.output_item.done", {"output_index": self._call, "item": item}
        )

    def _event(self, kind: str, data: dict[str, Any]) -> bytes:
        body = {"type": kind, "sequence_number": self._sequence} | data
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(body) + b"\n\n"
