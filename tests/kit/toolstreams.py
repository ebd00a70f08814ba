"""Answers with tool calls in three APIs: streams as backends send them, and what a client makes of them.

A `Said` is one thing that a model says: text, or a call in some pieces. The makers turn a list of them into
frames; the readers put frames together again as the official clients do, by index, sharing no code with the
gateway. `run` feeds a hold and rules each call by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import orjson

from gateway.wire.toolcall.call import Call, Verdict
from gateway.wire.toolcall.chat import ChatGrammar
from gateway.wire.toolcall.hold import CallHold
from gateway.wire.toolcall.messages import MessageGrammar
from gateway.wire.toolcall.responses import ResponseGrammar

HELD_MAX = 1 << 20
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Said:
    """Text where `name` is None, else a call of that tool; in pieces."""

    pieces: tuple[str, ...]
    name: str | None = None

    @property
    def whole(self) -> str:
        """The pieces together."""
        return "".join(self.pieces)


def text(*pieces: str) -> Said:
    """Something said."""
    return Said(pieces)


def call(name: str, *pieces: str) -> Said:
    """A call of a tool."""
    return Said(pieces, name)


def frame(value: Any, name: str = "", end: bytes = b"\n") -> bytes:
    """One event."""
    head = b"event: " + name.encode() + end if name else b""
    return head + b"data: " + orjson.dumps(value) + end + end


# --- chat completions ----------------------------------------------------------------------------


def chunk(delta: Any, finish: str | None = None, choice: int = 0) -> bytes:
    """One chunk of a chat completion with one choice."""
    body = {"index": choice, "delta": delta, "finish_reason": finish}
    return frame(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [body]}
    )


def fragment(index: int, arguments: str | None = None, **opening: Any) -> Any:
    """A delta with one fragment of a call; `opening` is its id and name."""
    function = {} if arguments is None else {"arguments": arguments}
    if "name" in opening:
        function = {"name": opening.pop("name"), **function}
    return {"tool_calls": [{"index": index, **opening, "function": function}]}


def chat(said: Sequence[Said], choice: int = 0) -> list[bytes]:
    """The frames of one choice, up to its finish reason."""
    frames = [chunk({"role": "assistant", "content": ""}, choice=choice)]
    index = 0
    for one in said:
        if one.name is None:
            frames += [chunk({"content": piece}, choice=choice) for piece in one.pieces]
            continue
        opening = {"id": f"call_{choice}_{index}", "type": "function", "name": one.name}
        frames.append(chunk(fragment(index, "", **opening), choice=choice))
        frames += [chunk(fragment(index, piece), choice=choice) for piece in one.pieces]
        index += 1
    return [*frames, chunk({}, "tool_calls" if index else "stop", choice)]


def chat_end(usage: bool = True) -> list[bytes]:
    """The frames behind the last choice."""
    usages = [frame({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})]
    return [*(usages if usage else []), DONE]


@dataclass
class Heard:
    """What a client has of an answer, or of one choice of it."""

    text: str
    calls: list[tuple[str, str]]
    finish: str | None


def read_chat(stream: bytes, choice: int = 0) -> Heard:
    """Put a choice together as `openai` does: fragments by index, which is the place in the list."""
    heard = Heard("", [], None)
    slots: list[dict[str, str]] = []
    for value in events(stream):
        for one in value["choices"]:
            if one["index"] != choice:
                continue
            delta = one.get("delta", {})
            heard.text += delta.get("content") or ""
            heard.finish = one.get("finish_reason") or heard.finish
            for part in delta.get("tool_calls") or []:
                if part["index"] == len(slots):
                    slots.append({"name": "", "arguments": ""})
                slot = slots[part["index"]]
                slot["name"] += part["function"].get("name") or ""
                slot["arguments"] += part["function"].get("arguments") or ""
    heard.calls = [(slot["name"], slot["arguments"]) for slot in slots]
    return heard


# --- messages ------------------------------------------------------------------------------------


def message(said: Sequence[Said]) -> list[bytes]:
    """The frames of a streamed message."""

    def event(kind: str, **facts: Any) -> bytes:
        return frame({"type": kind, **facts}, kind)

    start = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
    frames = [event("message_start", message={**start, "usage": {"input_tokens": 3, "output_tokens": 1}})]
    for index, one in enumerate(said):
        if one.name is None:
            frames.append(
                event("content_block_start", index=index, content_block={"type": "text", "text": ""})
            )
            deltas = [{"type": "text_delta", "text": piece} for piece in one.pieces]
        else:
            block = {"type": "tool_use", "id": f"toolu_{index}", "name": one.name, "input": {}}
            frames.append(event("content_block_start", index=index, content_block=block))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in one.pieces]
        frames += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        frames.append(event("content_block_stop", index=index))
    reason = "tool_use" if any(one.name for one in said) else "end_turn"
    frames.append(event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 9}))
    return [*frames, event("message_stop")]


def read_message(stream: bytes) -> Heard:
    """Put a message together as `anthropic` does: blocks are appended, deltas go by index."""
    heard = Heard("", [], None)
    blocks: list[dict[str, Any]] = []
    for value in events(stream):
        kind = value["type"]
        if kind == "content_block_start":
            blocks.append({**value["content_block"], "json": ""})
        elif kind == "content_block_delta":
            block = blocks[value["index"]]
            if value["delta"]["type"] == "text_delta":
                block["text"] += value["delta"]["text"]
            else:
                block["json"] += value["delta"]["partial_json"]
        elif kind == "message_delta":
            heard.finish = value["delta"]["stop_reason"]
    heard.text = "".join(block["text"] for block in blocks if block["type"] == "text")
    heard.calls = [(block["name"], block["json"]) for block in blocks if block["type"] == "tool_use"]
    return heard


# --- responses -----------------------------------------------------------------------------------


PART = {"type": "output_text", "annotations": []}


def function_item(index: int, one: Said, status: str = "completed") -> dict[str, Any]:
    """An output item of a call."""
    arguments = one.whole if status == "completed" else ""
    item = {"id": f"fc_{index}", "type": "function_call", "call_id": f"call_{index}", "name": one.name}
    return {**item, "arguments": arguments, "status": status}


def message_item(index: int, one: Said, status: str = "completed") -> dict[str, Any]:
    """An output item of text."""
    content = [{**PART, "text": one.whole}] if status == "completed" else []
    return {
        "id": f"msg_{index}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def response_object(said: Sequence[Said], status: str = "completed") -> dict[str, Any]:
    """A whole response."""
    done = status == "completed"
    output = [(function_item if one.name else message_item)(at, one) for at, one in enumerate(said)]
    usage = {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12} if done else None
    return {
        "id": "resp",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "output": output if done else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def response(said: Sequence[Said]) -> list[bytes]:
    """The frames of a streamed response."""
    frames: list[bytes] = []

    def event(kind: str, **facts: Any) -> None:
        frames.append(frame({"type": kind, "sequence_number": len(frames), **facts}, kind))

    event("response.created", response=response_object(said, "in_progress"))
    for index, one in enumerate(said):
        make = function_item if one.name else message_item
        kind = "response.function_call_arguments" if one.name else "response.output_text"
        where = {"item_id": make(index, one)["id"], "output_index": index}
        event("response.output_item.added", output_index=index, item=make(index, one, "in_progress"))
        if one.name is None:
            where["content_index"] = 0
            event("response.content_part.added", **where, part={**PART, "text": ""})
        for piece in one.pieces:
            event(f"{kind}.delta", **where, delta=piece)
        event(f"{kind}.done", **where, **({"arguments": one.whole} if one.name else {"text": one.whole}))
        if one.name is None:
            event("response.content_part.done", **where, part={**PART, "text": one.whole})
        event("response.output_item.done", output_index=index, item=make(index, one))
    event("response.completed", response=response_object(said))
    return frames


def read_response(stream: bytes) -> Heard:
    """Put a response together as `openai` does, and hold it against the whole one at the end."""
    items: list[dict[str, Any]] = []
    final: list[dict[str, Any]] = []
    status = None
    for value in events(stream):
        kind = value["type"]
        if kind == "response.output_item.added":
            items.append({**value["item"], "said": ""})
        elif kind.endswith(".delta"):
            items[value["output_index"]]["said"] += value["delta"]
        elif kind == "response.completed":
            final, status = value["response"]["output"], value["response"]["status"]
    calls, spoken = [], ""
    assert [item["type"] for item in items] == [item["type"] for item in final]
    for item, whole in zip(items, final, strict=True):
        if item["type"] == "message":
            assert item["said"] == whole["content"][0]["text"]
            spoken += item["said"]
        else:
            assert (item["name"], item["said"]) == (whole["name"], whole["arguments"])
            calls.append((whole["name"], whole["arguments"]))
    return Heard(spoken, calls, status)


# --- holding -------------------------------------------------------------------------------------

MAKERS: dict[str, Callable[[Sequence[Said]], list[bytes]]] = {
    "chat": lambda said: [*chat(said), *chat_end()],
    "message": message,
    "response": response,
}
READERS: dict[str, Callable[[bytes], Heard]] = {
    "chat": read_chat,
    "message": read_message,
    "response": read_response,
}
GRAMMARS: dict[str, Callable[[], Any]] = {
    "chat": ChatGrammar,
    "message": MessageGrammar,
    "response": ResponseGrammar,
}


@dataclass
class Ran:
    """What came of a stream that went through a hold."""

    out: bytes
    calls: list[Call]
    fault: str | None
    steps: list[bytes]
    """What came out at each chunk, before anything was ruled."""


def run(api: str, chunks: Iterable[bytes], refuse: Collection[str] = (), *, held_max: int = HELD_MAX) -> Ran:
    """Feed chunks to a hold; refuse the calls of these tools, and what is at fault."""
    hold = CallHold(GRAMMARS[api](), bytes_max=held_max)
    ran = Ran(b"", [], None, [])
    for data in (*chunks, None):
        out = hold.end() if data is None else hold.feed(data)
        ran.steps.append(out)
        ran.out += out
        ready = hold.take_ready()
        ran.calls += ready
        verdicts = [
            (one, Verdict(one.fault is None and one.name not in refuse, f"[no {one.name}]")) for one in ready
        ]
        ran.out += hold.rule(verdicts)
        if hold.fault is not None:
            ran.fault = hold.fault.value
            break
    return ran


def events(stream: bytes) -> list[Any]:
    """The JSON of every event of a stream, the end mark left out."""
    found = []
    for block in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        lines = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
        if lines and lines != [b"[DONE]"]:
            found.append(orjson.loads(b"\n".join(lines)))
    return found


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut a stream at some places."""
    at = sorted({place % (len(stream) + 1) for place in places})
    edges = [0, *at, len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]
