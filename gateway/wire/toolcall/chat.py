"""Tool calls in chat completions: `tool_calls` by index, and the `function_call` that came before them.

Fragments of a call are put together as OpenAI's own client does it: by choice and index. A call is complete
when its choice gives a finish reason, at the end mark, or when the next call begins and its arguments are a
whole JSON object, to which nothing could be added without breaking it.

A refused call is taken out and explained in the choice's content. The index of a call is its place in the
list, and clients take it for that: where a call is taken out, those behind it move up, and of their bytes
the digits of the index are all that changes. `finish_reason` says `stop` where no call is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.kernel.types import JSON, JSONObject
from gateway.wire.frames import read_event, with_data
from gateway.wire.spans import without, without_items
from gateway.wire.toolcall.call import Call, Calls, Fault, Kind, UnreadableError, says_an_object
from gateway.wire.toolcall.hold import Part
from gateway.wire.toolcall.text import (
    json_text,
    mended,
    object_at,
    objects_at,
    read_object,
    replaced,
    text_at,
    whole_at,
)

NEEDLES: Final = (b"tool_calls", b"function_call")
_HOLDERS: Final = ("delta", "message")
"""Where a choice says what it says: streams and whole answers; some backends send both kinds in a stream."""
_FINISHED_WITH_CALLS: Final = frozenset({"tool_calls", "function_call"})
_LEGACY: Final = -1
"""Stands for the index of a `function_call`, which has none."""
_Mention: TypeAlias = tuple[int, str, int, Call]
"""Place of the choice in the list, the member that holds it, place among its calls (or legacy), the call."""


@dataclass(slots=True)
class _Choice:
    current: dict[int, Call] = field(default_factory=dict)
    """The call that goes on under each index."""
    index: dict[Call, int] = field(default_factory=dict)
    up: dict[Call, int] = field(default_factory=dict)
    """By how much a call moves up: settled when its first frame goes on."""
    latest: Call | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    value: JSONObject
    text: str
    mentions: tuple[_Mention, ...]


class ChatGrammar:
    """Implements `hold.Grammar` for chat completions."""

    needles = NEEDLES

    def __init__(self) -> None:
        self.calls = Calls()
        self._choices: dict[int, _Choice] = {}
        self._of: dict[Call, _Choice] = {}

    def read(self, frame: bytes) -> Part:
        """Read a frame of a stream. Raises UnreadableError."""
        data = read_event(frame).data.strip()
        if not data:
            return Part(frame, overtakes=True)
        if data.startswith(b"[DONE]"):
            self.calls.end_all()
            return Part(frame)
        read = self._read(data)
        mentioned = tuple(dict.fromkeys(mention[3] for mention in read.mentions))
        return Part(frame, mentioned, overtakes=not mentioned and _is_text(read.value), value=read)

    def render(self, part: Part) -> bytes:
        """Return a frame without the calls that were refused; empty where nothing else was in it."""
        if part.value is None:
            return part.frame
        text = self._mended(part.value)
        if text is None:
            return part.frame
        return b"" if _is_hollow(read_object(text.encode())) else with_data(part.frame, text.encode())

    def read_body(self, body: bytes) -> Any:
        """Read a whole answer; all its calls are ready. Raises UnreadableError."""
        read = self._read(body)
        self.calls.end_all()
        return read

    def render_body(self, body: bytes, read: Any) -> bytes:
        """Return a whole answer without the calls that were refused."""
        text = self._mended(read)
        return body if text is None else text.encode()

    # --- reading ---------------------------------------------------------------------------------

    def _read(self, data: bytes) -> _Read:
        value = read_object(data)
        mentions: list[_Mention] = []
        for place, choice in enumerate(objects_at(value, "choices")):
            number = whole_at(choice, "index", place)
            for holder in _HOLDERS:
                said = object_at(choice, holder)
                for at, entry in enumerate(objects_at(said, "tool_calls")):
                    mentions.append((place, holder, at, self._fragment(number, entry, at)))
                if legacy := object_at(said, "function_call"):
                    mentions.append((place, holder, _LEGACY, self._legacy(number, legacy)))
            if choice.get("finish_reason") is not None:
                self._finish(number)
        return _Read(value, data.decode(), tuple(mentions))

    def _fragment(self, number: int, entry: JSONObject, at: int) -> Call:
        choice = self._choices.setdefault(number, _Choice())
        index = whole_at(entry, "index", at)
        call_id = text_at(entry, "id")
        call = choice.current.get(index)
        if call is None or (call_id and call.call_id and call_id != call.call_id):
            call = self._begin(choice, index, f"/choices/{number}/message/tool_calls/{index}")
        call.call_id = call.call_id or call_id
        custom = object_at(entry, "custom")
        if custom and not call.name:
            call.kind = Kind.CUSTOM
        said = object_at(entry, "function")
        if said and custom:
            raise UnreadableError(Fault.UNREADABLE)
        self._take(call, said.get("name"), said.get("arguments"))
        self._take(call, custom.get("name"), custom.get("input"))
        return call

    def _legacy(self, number: int, said: JSONObject) -> Call:
        choice = self._choices.setdefault(number, _Choice())
        call = choice.current.get(_LEGACY)
        if call is None:
            call = self._begin(choice, _LEGACY, f"/choices/{number}/message/function_call")
        self._take(call, said.get("name"), said.get("arguments"))
        return call

    def _begin(self, choice: _Choice, index: int, place: str) -> Call:
        before = choice.latest
        if before is not None and not before.complete and says_an_object(before.arguments):
            self.calls.end(before)
        call = self.calls.begin(Call(place))
        choice.current[index] = choice.latest = call
        choice.index[call] = index
        self._of[call] = choice
        return call

    @staticmethod
    def _take(call: Call, name: JSON, arguments: JSON) -> None:
        if call.complete:
            nothing = arguments is None or (isinstance(arguments, str) and not arguments.strip())
            if call.fault is None and not (nothing and name in {None, ""}):
                # What was judged is not what the client would put together.
                raise UnreadableError(Fault.LATE_FRAGMENT)
            return
        call.name_piece(name)
        call.argument_piece(arguments)

    def _finish(self, number: int) -> None:
        choice = self._choices.get(number)
        for call in () if choice is None else tuple(choice.index):
            self.calls.end(call)

    # --- writing ---------------------------------------------------------------------------------

    def _mended(self, read: _Read) -> str | None:
        """Return the text without refused calls, or None where nothing has to change."""
        text = read.text
        for *_, call in read.mentions:
            self._settle(call)
        if not any(call.refused for call in self.calls.begun):
            return None
        for place, choice in enumerate(objects_at(read.value, "choices")):
            for holder in _HOLDERS:
                here = (place, holder)
                mentioned = [(at, call) for *where, at, call in read.mentions if tuple(where) == here]
                if mentioned:
                    text = self._mend_holder(text, ("choices", place, holder), choice[holder], mentioned)
            if choice.get("finish_reason") in _FINISHED_WITH_CALLS and not self._left(choice, place):
                text = replaced(text, ("choices", place, "finish_reason"), '"stop"')
        return text if text != read.text else None

    def _mend_holder(
        self,
        text: str,
        path: tuple[str | int, ...],
        said: JSONObject,
        mentioned: list[tuple[int, Call]],
    ) -> str:
        gone = {at for at, call in mentioned if call.refused}
        for at, call in mentioned:
            up = 0 if at in gone else self._of[call].up[call]
            if up and "index" in said["tool_calls"][at]:
                index = said["tool_calls"][at]["index"] - up
                text = replaced(text, (*path, "tool_calls", at, "index"), str(index))
        listed = gone - {_LEGACY}
        if listed and len(listed) == len(said["tool_calls"]):
            text = mended(text, path, lambda held: without(held, {"tool_calls"}))
        elif listed:
            text = mended(text, (*path, "tool_calls"), lambda held: without_items(held, listed))
        if _LEGACY in gone:
            text = mended(text, path, lambda held: without(held, {"function_call"}))
        told = [call for _, call in mentioned if call.refused and not call.told]
        if told:
            gap = "\n" if path[-1] == "delta" else ""
            text = replaced(text, (*path, "content"), _explained(said.get("content"), told, gap))
        return text

    def _settle(self, call: Call) -> None:
        """Settle by how much a call moves up: by the calls of a lower index that have been taken out."""
        choice = self._of[call]
        if call not in choice.up:
            own = choice.index[call]
            choice.up[call] = sum(other.refused and 0 <= at < own for other, at in choice.index.items())

    def _left(self, choice: JSONObject, place: int) -> bool:
        known = self._choices.get(whole_at(choice, "index", place))
        return known is None or any(not call.refused for call in known.index)


def _is_text(value: JSONObject) -> bool:
    """Tell whether a frame without calls says something of choices and ends none of them: it may overtake."""
    choices = objects_at(value, "choices")
    return bool(choices) and all(choice.get("finish_reason") is None for choice in choices)


def _is_hollow(value: JSONObject) -> bool:
    """Tell whether nothing is left in a frame that lost a call."""
    if value.get("usage"):
        return False
    for choice in objects_at(value, "choices"):
        if choice.get("finish_reason") is not None:
            return False
        for holder in _HOLDERS:
            if any(item not in (None, "", []) for item in object_at(choice, holder).values()):
                return False
    return True


def _explained(content: JSON, calls: list[Call], gap: str) -> str:
    """Return the content with the explanation of refused calls behind it; `gap` goes before it alone."""
    for call in calls:
        call.told = True
    words = "\n".join(call.verdict.text for call in calls if call.verdict is not None)
    if isinstance(content, list):
        return json_text([*content, {"type": "text", "text": words}])
    return json_text(f"{content}\n\n{words}" if isinstance(content, str) and content else gap + words)
