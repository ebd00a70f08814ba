"""Tool calls in OpenAI's Responses API: output items whose type ends in `_call` and that the client runs.

A call begins with `response.output_item.added`, goes on with deltas of its arguments and is complete at
`response.output_item.done`. The arguments are said up to four times (deltas, their `.done`, the item's
`.done`, the whole response at the end), and clients differ in which they read: all must agree. Items that the
server runs itself (web search, its own MCP calls, ...) have been run when we hear of them: they pass.

In the place of a refused item stands a message with the explanation, under the same output index, in the
events and in the whole response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.kernel.types import JSON, JSONObject
from gateway.wire.frames import make_frame, read_event, with_data
from gateway.wire.toolcall.call import Call, Calls, Fault, Kind, UnreadableError
from gateway.wire.toolcall.hold import Part
from gateway.wire.toolcall.text import (
    json_text,
    object_at,
    objects_at,
    read_object,
    replaced,
    text_at,
    whole_at,
)

NEEDLES: Final = (b"_call",)
_SERVER_SIDE: Final = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "tool_search_call",
    }
)
_SAYINGS: Final = ("response.function_call_arguments", "response.custom_tool_call_input")
_DELTAS: Final = frozenset({f"{name}.delta" for name in _SAYINGS})
_DONES: Final = frozenset({f"{name}.done" for name in _SAYINGS})
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_UNSAID: Final = ("id", "status", "created_by")
"""What may differ between two sayings of one item of the API's own kinds."""


@dataclass(frozen=True, slots=True)
class _Read:
    kind: str
    value: JSONObject
    text: str
    listed: tuple[tuple[int, Call], ...] = ()
    """Where this is a whole response: places in its output, and the calls there."""


class ResponseGrammar:
    """Implements `hold.Grammar` for responses."""

    needles = NEEDLES

    def __init__(self) -> None:
        self.calls = Calls()
        self._at: dict[int, Call] = {}
        self._sequence: dict[Call, list[int]] = {}
        """The sequence numbers of a call's events: those of its explanation are taken from them."""

    def read(self, frame: bytes) -> Part:
        """Read a frame of a stream. Raises UnreadableError."""
        event = read_event(frame)
        data = event.data.strip()
        if not data:
            return Part(frame, overtakes=True)
        if data.startswith(b"[DONE]"):
            self.calls.end_all()
            return Part(frame)
        value = read_object(data)
        kind = text_at(value, "type")
        if event.name and event.name != kind:
            raise UnreadableError(Fault.UNREADABLE)
        response = object_at(value, "response")
        if response:
            listed = self._listed(response)
            if kind in _TERMINAL:
                self.calls.end_all()
            calls = tuple(call for _, call in listed)
            return Part(frame, calls, value=_Read(kind, value, data.decode(), listed))
        if "output_index" not in value:
            return Part(frame)
        index = whole_at(value, "output_index", 0)
        call = self._touched(kind, index, value)
        if call is None:
            held = [at for at, one in self._at.items() if not one.complete]
            # What began before the call goes on; what begins behind it waits, because clients append.
            return Part(frame, overtakes=bool(held) and index < min(held))
        self._sequence.setdefault(call, []).append(whole_at(value, "sequence_number", 0))
        return Part(frame, (call,), value=_Read(kind, value, data.decode()))

    def render(self, part: Part) -> bytes:
        """Return a frame as it goes on; the first of a refused item becomes the message in its place."""
        read: _Read | None = part.value
        if read is None:
            return part.frame
        if read.listed:
            text = _without_refused(read.text, ("response", "output"), read.listed)
            return part.frame if text is read.text else with_data(part.frame, text.encode())
        call = part.calls[0] if part.calls else None
        if call is None or not call.refused:
            return part.frame
        if call.told:
            return b""
        call.told = True
        return _explanation(whole_at(read.value, "output_index", 0), call, self._sequence[call])

    def read_body(self, body: bytes) -> Any:
        """Read a whole response; all its calls are ready. Raises UnreadableError."""
        return self._listed(read_object(body))

    def render_body(self, body: bytes, read: Any) -> bytes:
        """Return a whole response with a message in the place of each refused call."""
        if not any(call.refused for _, call in read):
            return body
        return _without_refused(body.decode(), ("output",), read).encode()

    # --- the inside ------------------------------------------------------------------------------

    def _listed(self, response: JSONObject) -> tuple[tuple[int, Call], ...]:
        """Return the calls of a whole response; one that was judged before must be the very same."""
        found: list[tuple[int, Call]] = []
        for at, item in enumerate(objects_at(response, "output")):
            if not _is_call(item):
                continue
            call = self._at.get(at) or self._begin(at, item)
            self._say(call, item.get("name"), _arguments(item), call_id=text_at(item, "call_id"), final=True)
            self.calls.end(call)
            found.append((at, call))
        return tuple(found)

    def _touched(self, kind: str, index: int, value: JSONObject) -> Call | None:
        """Return the call that an event of an item has to do with, if any."""
        item = object_at(value, "item")
        call = self._at.get(index)
        if item:
            if not _is_call(item):
                if call is not None:
                    raise UnreadableError(Fault.UNREADABLE)
                return None
            call = call or self._begin(index, item)
            ended = kind == "response.output_item.done"
            self._say(call, item.get("name"), _arguments(item), call_id=text_at(item, "call_id"), final=ended)
            if ended:
                self.calls.end(call)
        elif kind in _DELTAS | _DONES:
            call = call or self._begin(index, {"type": "function_call"})
            if kind in _DELTAS:
                self._delta(call, value.get("delta"))
            else:
                said = value.get("arguments", value.get("input"))
                self._say(call, value.get("name"), said, final=True)
        return call

    def _begin(self, index: int, item: JSONObject) -> Call:
        kind = text_at(item, "type")
        known = {"function_call": Kind.FUNCTION, "custom_tool_call": Kind.CUSTOM}
        call = Call(f"/output/{index}", kind=known.get(kind, Kind.BUILT_IN))
        if call.kind is Kind.BUILT_IN:
            call.name = kind
        self._at[index] = call
        return self.calls.begin(call)

    @staticmethod
    def _delta(call: Call, piece: JSON) -> None:
        if not call.complete:
            call.argument_piece(piece)
        elif call.fault is None and piece:
            raise UnreadableError(Fault.LATE_FRAGMENT)

    @staticmethod
    def _say(call: Call, name: JSON, arguments: JSON, *, call_id: str = "", final: bool) -> None:
        """Take what an event says of a call as a whole; it must not differ from what was said before."""
        if call.kind is Kind.BUILT_IN:
            name = call.name
            if not final:
                return  # it grows in ways of its own until it is done
        said = call.arguments
        same = (
            (not name or not call.name or name == call.name)
            and (not call_id or not call.call_id or call_id == call.call_id)
            and (not final or not (said or call.complete) or arguments == said)
        )
        if not same and call.complete and call.fault is None:
            raise UnreadableError(Fault.DISAGREES)
        if call.complete or call.fault is not None:
            return
        if not same:
            call.fault = Fault.DISAGREES
            return
        call.call_id = call.call_id or call_id
        if name and not call.name:
            call.name_piece(name)
        if arguments and not said:
            call.argument_piece(arguments)


def _is_call(item: JSONObject) -> bool:
    kind = text_at(item, "type")
    return kind.endswith("_call") and kind not in _SERVER_SIDE


def _arguments(item: JSONObject) -> JSON:
    kind = text_at(item, "type")
    if kind == "function_call":
        return item.get("arguments")
    if kind == "custom_tool_call":
        return item.get("input")
    return json_text({name: value for name, value in item.items() if name not in _UNSAID})


def _without_refused(text: str, path: tuple[str, ...], listed: tuple[tuple[int, Call], ...]) -> str:
    for at, call in listed:
        if call.refused:
            message = json_text(_message(at, call, "completed"))
            text = replaced(text, (*path, at), message)
    return text


def _message(index: int, call: Call, status: str) -> JSONObject:
    content = [_part(call)] if status == "completed" else []
    return {
        "id": f"msg_refused_{index}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _part(call: Call, *, empty: bool = False) -> JSONObject:
    text = "" if empty or call.verdict is None else call.verdict.text
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _explanation(index: int, call: Call, sequence: list[int]) -> bytes:
    """Return the events of a message in the place of a refused item."""
    words = "" if call.verdict is None else call.verdict.text
    part = {"item_id": f"msg_refused_{index}", "output_index": index, "content_index": 0}
    events: list[tuple[str, JSONObject]] = [
        ("response.output_item.added", {"output_index": index, "item": _message(index, call, "in_progress")}),
        ("response.content_part.added", part | {"part": _part(call, empty=True)}),
        ("response.output_text.delta", part | {"delta": words, "logprobs": []}),
        ("response.output_text.done", part | {"text": words, "logprobs": []}),
        ("response.content_part.done", part | {"part": _part(call)}),
        ("response.output_item.done", {"output_index": index, "item": _message(index, call, "completed")}),
    ]
    frames = []
    for at, (kind, facts) in enumerate(events):
        number = sequence[min(at, len(sequence) - 1)]
        frames.append(make_frame(orjson.dumps({"type": kind, "sequence_number": number} | facts), kind))
    return b"".join(frames)
