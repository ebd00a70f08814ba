"""Tool calls in Anthropic's Messages API: content blocks of type `tool_use`.

A call begins with `content_block_start`, its arguments are the `partial_json` of its deltas, and it is
complete at `content_block_stop`. Tools that the server runs itself (`server_tool_use`, `mcp_tool_use`) have
been run when we hear of them: they pass.

In the place of a refused block stands a text block with the explanation, under the same index, so that
every other block keeps its own. `stop_reason` says `end_turn` where no call is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from gateway.kernel.types import JSON, JSONObject
from gateway.wire.frames import make_frame, read_event, with_data
from gateway.wire.toolcall.call import Call, Calls, Fault, UnreadableError
from gateway.wire.toolcall.hold import Part
from gateway.wire.toolcall.text import (
    json_text,
    object_at,
    objects_at,
    read_object,
    replaced,
    text_at,
    value_text,
    whole_at,
)

NEEDLES: Final = (b"tool_use", b"input_json")
_SERVER_SIDE: Final = frozenset({"server_tool_use", "mcp_tool_use"})
_Mentions: TypeAlias = tuple[tuple[int, Call], ...]
"""Places in the content of a whole answer, and the calls there."""


@dataclass(frozen=True, slots=True)
class _Read:
    kind: str
    value: JSONObject
    text: str


class MessageGrammar:
    """Implements `hold.Grammar` for messages."""

    needles = NEEDLES

    def __init__(self) -> None:
        self.calls = Calls()
        self._at: dict[int, Call] = {}
        self._given: dict[Call, JSON] = {}
        """The input that stood in a block's start already."""

    def read(self, frame: bytes) -> Part:
        """Read a frame of a stream. Raises UnreadableError."""
        event = read_event(frame)
        if not event.data.strip():
            return Part(frame, overtakes=True)
        value = read_object(event.data)
        kind = text_at(value, "type")
        if event.name and event.name != kind:
            # Some clients go by the one, some by the other.
            raise UnreadableError(Fault.UNREADABLE)
        if any(_is_call(block) for block in objects_at(object_at(value, "message"), "content")):
            raise UnreadableError(Fault.UNREADABLE)
        read = _Read(kind, value, event.data.decode())
        if kind == "message_stop":
            self._end_all()
        if not kind.startswith("content_block"):
            return Part(frame, overtakes=kind == "ping", value=read)
        index = whole_at(value, "index", 0)
        call = self._touched(kind, index, value, read.text)
        if call is not None:
            return Part(frame, (call,), value=read)
        held = [at for at, one in self._at.items() if not one.complete]
        # What began before the call goes on; what begins behind it waits, because clients append.
        return Part(frame, overtakes=bool(held) and index < min(held))

    def render(self, part: Part) -> bytes:
        """Return a frame as it goes on: the start of a refused block tells why, and its deltas are gone."""
        read: _Read | None = part.value
        if read is None:
            return part.frame
        if read.kind == "message_delta":
            stop = object_at(read.value, "delta").get("stop_reason")
            if stop == "tool_use" and self._none_left():
                text = replaced(read.text, ("delta", "stop_reason"), '"end_turn"')
                return with_data(part.frame, text.encode())
            return part.frame
        call = part.calls[0] if part.calls else None
        if call is None or not call.refused or read.kind == "content_block_stop":
            return part.frame
        if call.told or call.verdict is None:
            return b""
        call.told = True
        return _explanation(whole_at(read.value, "index", 0), call.verdict.text)

    def read_body(self, body: bytes) -> Any:
        """Read a whole answer; all its calls are ready. Raises UnreadableError."""
        value = read_object(body)
        text = body.decode()
        mentions = []
        for at, block in enumerate(objects_at(value, "content")):
            if _is_call(block):
                call = self._begin(at, block)
                call.argument_piece(_raw_input(text, ("content", at, "input")))
                mentions.append((at, call))
        self.calls.end_all()
        return tuple(mentions)

    def render_body(self, body: bytes, read: Any) -> bytes:
        """Return a whole answer with a text in the place of each refused call."""
        mentions: _Mentions = read
        refused = [(at, call) for at, call in mentions if call.refused]
        if not refused:
            return body
        text = body.decode()
        for at, call in refused:
            words = "" if call.verdict is None else call.verdict.text
            block = json_text({"type": "text", "text": words})
            text = replaced(text, ("content", at), block)
        if self._none_left() and text_at(orjson.loads(body), "stop_reason") == "tool_use":
            text = replaced(text, ("stop_reason",), '"end_turn"')
        return text.encode()

    # --- the inside ------------------------------------------------------------------------------

    def _touched(self, kind: str, index: int, value: JSONObject, text: str) -> Call | None:
        """Return the call that an event of a block has to do with, if any."""
        if kind == "content_block_start":
            block = object_at(value, "content_block")
            if not _is_call(block):
                return None
            begun = self._begin(index, block)
            if block.get("input"):
                self._given[begun] = _raw_input(text, ("content_block", "input"))
            return begun
        call = self._at.get(index)
        if call is None:
            return None
        if kind == "content_block_stop":
            self._end(call)
        elif kind == "content_block_delta":
            self._delta(call, object_at(value, "delta"))
        else:
            raise UnreadableError(Fault.UNREADABLE)
        return call

    def _begin(self, index: int, block: JSONObject) -> Call:
        if index in self._at:
            raise UnreadableError(Fault.UNREADABLE)
        call = self.calls.begin(Call(f"/content/{index}", call_id=text_at(block, "id")))
        call.name_piece(block.get("name"))
        self._at[index] = call
        return call

    @staticmethod
    def _delta(call: Call, delta: JSONObject) -> None:
        if delta.get("type") != "input_json_delta":
            raise UnreadableError(Fault.UNREADABLE)
        if not call.complete:
            call.argument_piece(delta.get("partial_json"))
        elif call.fault is None and delta.get("partial_json"):
            raise UnreadableError(Fault.LATE_FRAGMENT)

    def _end(self, call: Call) -> None:
        given = self._given.pop(call, None)
        if given is not None and not call.complete:
            if not call.arguments.strip():
                call.argument_piece(given)
            elif not _same(given, call.arguments):
                call.fault = call.fault or Fault.DISAGREES
        self.calls.end(call)

    def _end_all(self) -> None:
        for call in tuple(self.calls.open):
            self._end(call)

    def _none_left(self) -> bool:
        return bool(self.calls.begun) and all(call.refused for call in self.calls.begun)


def _is_call(block: JSONObject) -> bool:
    kind = text_at(block, "type")
    return kind.endswith("tool_use") and kind not in _SERVER_SIDE


def _raw_input(text: str, path: tuple[str | int, ...]) -> str | None:
    """Return the input as it is written: what was judged is what the client gets, digit by digit."""
    try:
        return value_text(text, path)
    except KeyError:
        return None


def _same(given: JSON, deltas: str) -> bool:
    try:
        return bool(orjson.loads(given) == orjson.loads(deltas))
    except orjson.JSONDecodeError:
        return False


def _explanation(index: int, words: str) -> bytes:
    start = {
        "type": "content_block_start",
        "index": index,
        "content_block": {"type": "text", "text": ""},
    }
    delta = {
        "type": "content_block_delta",
        "index": index,
        "delta": {"type": "text_delta", "text": words},
    }
    return make_frame(orjson.dumps(start), "content_block_start") + make_frame(
        orjson.dumps(delta), "content_block_delta"
    )
