"""One tool call inside an answer, as it is put together from its fragments, and what was ruled about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from gateway.kernel.errors import InvalidRequestError, RequestError
from gateway.kernel.parse import parse_tool_json
from gateway.kernel.types import JSON, JSONObject


class Fault(StrEnum):
    """Why a call, or a whole answer, cannot be judged by its content. Each one refuses."""

    NOT_JSON = "arguments_not_json"
    AMBIGUOUS = "arguments_ambiguous"
    """A key that stands there twice, or nesting that readers give up on."""
    NOT_OBJECT = "arguments_not_object"
    NOT_TEXT = "arguments_not_text"
    NAME_MISSING = "name_missing"
    NAME_AMBIGUOUS = "name_ambiguous"
    DISAGREES = "fragments_disagree"
    OVERSIZED = "arguments_oversized"
    HELD_TOO_LONG = "held_too_long"
    UNREADABLE = "answer_unreadable"
    LATE_FRAGMENT = "fragment_after_the_end"
    TOO_MANY = "too_many_calls"
    EVENT_TOO_LARGE = "event_too_large"


class UnreadableError(Exception):
    """The answer may hold a tool call and cannot be read as its API says: nothing of it goes on from here."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was ruled about a call. `text` is what the model is told where it is not permitted."""

    permitted: bool
    text: str = ""


class Kind(StrEnum):
    """What a call's arguments are."""

    FUNCTION = "function"
    """JSON text that says an object."""
    CUSTOM = "custom"
    """Free text."""
    BUILT_IN = "built_in"
    """A JSON object of the API's own making (a shell command, a click), under the item's type as its name."""


@dataclass(slots=True, eq=False)
class Call:
    """A call under way. `place` is a pointer to where it stands in the whole answer."""

    place: str
    kind: Kind = Kind.FUNCTION
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    complete: bool = False
    """No fragment that means anything may follow."""
    fault: Fault | None = None
    verdict: Verdict | None = None
    told: bool = False
    """The explanation of its refusal has its place in the answer."""

    @property
    def arguments(self) -> str:
        """The arguments as the client would put them together."""
        return "".join(self.pieces)

    @property
    def permitted(self) -> bool:
        """It was ruled that it may go on."""
        return self.verdict is not None and self.verdict.permitted

    @property
    def refused(self) -> bool:
        """It was ruled that it may not go on."""
        return self.verdict is not None and not self.verdict.permitted

    def name_piece(self, piece: JSON) -> None:
        """Take a fragment of the name: clients of OpenAI put them together, others take the first.

        The same name once more is read as one name by some and as two by others.
        """
        if piece is None or piece == "":
            return
        if not isinstance(piece, str) or piece == self.name:
            self.fault = self.fault or Fault.NAME_AMBIGUOUS
        else:
            self.name += piece

    def argument_piece(self, piece: JSON) -> None:
        """Take a fragment of the arguments."""
        if piece is None:
            return
        if not isinstance(piece, str):
            self.fault = self.fault or Fault.NOT_TEXT
        elif self.fault is not Fault.OVERSIZED:
            self.pieces.append(piece)

    def end(self) -> None:
        """Say that it is complete; find what is wrong with it."""
        self.complete = True
        if self.fault is None and not self.name:
            self.fault = Fault.NAME_MISSING
        if self.fault is None and self.kind is not Kind.CUSTOM:
            self.fault = read_arguments(self.arguments)[1]


_Read: TypeAlias = tuple[JSONObject, Fault | None]
_NOTHING: Final[JSONObject] = {}


def read_arguments(text: str) -> _Read:
    """Return the object that a call's arguments say, or an empty one and what is wrong with them.

    No arguments at all are an empty object, as every client reads them. A number that no record can hold
    exactly stands as `Unfit`.
    """
    if not text.strip():
        return _NOTHING, None
    try:
        value = parse_tool_json(text.encode())
    except InvalidRequestError:
        return _NOTHING, Fault.AMBIGUOUS
    except (RequestError, UnicodeEncodeError):
        return _NOTHING, Fault.NOT_JSON
    return (value, None) if isinstance(value, dict) else (_NOTHING, Fault.NOT_OBJECT)


def says_an_object(text: str) -> bool:
    """Tell whether the arguments so far are a whole JSON object: whatever follows would break them."""
    if not text.rstrip().endswith("}"):
        return False
    value, fault = read_arguments(text)
    return fault is None and isinstance(value, dict)


class Calls:
    """The calls of one answer, in the order in which they began, and which of them wait for a verdict."""

    __slots__ = ("begun", "open", "ready")

    def __init__(self) -> None:
        self.begun: list[Call] = []
        self.open: list[Call] = []
        """Not complete yet."""
        self.ready: list[Call] = []
        """Complete, and nobody has been asked yet."""

    def begin(self, call: Call) -> Call:
        """Take note of a call whose first fragment has come."""
        self.begun.append(call)
        self.open.append(call)
        return call

    def end(self, call: Call) -> None:
        """Take note that a call is complete; once more changes nothing."""
        if not call.complete:
            call.end()
            self.open.remove(call)
            self.ready.append(call)

    def end_all(self, fault: Fault | None = None) -> None:
        """Take note that every open call is complete, or that it is given up for a reason."""
        for call in tuple(self.open):
            call.fault = call.fault or fault
            self.end(call)

    def take_ready(self) -> list[Call]:
        """Return the calls that wait for a verdict, once each."""
        ready, self.ready = self.ready, []
        return ready
