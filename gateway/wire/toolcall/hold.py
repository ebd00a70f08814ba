"""Holds the tool calls of a streamed answer back until each is ruled, and lets everything else by at once.

Bytes in, bytes out. A frame that may have to do with a tool call is read; any other passes as it came, found
by a search for a few byte strings. What belongs to a call waits in one queue, in its order, until the call is
complete and somebody has ruled; then it goes on byte for byte, or in its API's spelling without the call.
Any cutting of the same bytes gives the same calls and, with the same verdicts, the same output.

The grammar knows the API; this knows order, bounds and where an answer must end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.kernel.bounds import TOOL_CALLS_MAX, TOOL_EVENT_BYTES_MAX
from gateway.wire.frames import Framer, split_frames
from gateway.wire.toolcall.call import Call, Calls, Fault, UnreadableError, Verdict

_ALWAYS: Final = (b"\\u00", b"\0")
"""An escape that can spell a letter of a key, and what shows that this is no UTF-8."""


def may_hold_call(data: bytes, needles: Iterable[bytes]) -> bool:
    r"""Tell whether JSON text can hold a key or value that contains one of the ASCII words `needles`.

    It never misses one: in JSON a character of a string stands for itself or as an escape, and the only
    escapes for a letter, a digit or an underscore are those that begin with `\u00`. So a word that is there
    is there byte for byte, or such an escape is. No JSON string may go over a line end (RFC 8259, 7), so
    the lines of an event's data cannot divide one. UTF-16 and UTF-32 show by their NUL bytes.
    """
    return any(needle in data for needle in needles) or any(mark in data for mark in _ALWAYS)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A frame that was read: the calls it has to do with, and whether it may overtake those that wait."""

    frame: bytes
    calls: tuple[Call, ...] = ()
    overtakes: bool = False
    value: Any = None
    """What the grammar needs to write the frame anew."""


class Grammar(Protocol):
    """How one API writes tool calls into its answers."""

    @property
    def needles(self) -> tuple[bytes, ...]:
        """Words of which one stands in every frame that begins a call or goes on with one."""
        ...

    @property
    def calls(self) -> Calls:
        """The calls so far."""
        ...

    def read(self, frame: bytes) -> Part:
        """Read a frame. Raises UnreadableError."""
        ...

    def render(self, part: Part) -> bytes:
        """Return a frame, all of whose calls are ruled, as it goes on; empty where nothing is left of it."""
        ...

    def read_body(self, body: bytes) -> Any:
        """Read a whole answer, all of whose calls are ready then. Raises UnreadableError."""
        ...

    def render_body(self, body: bytes, read: Any) -> bytes:
        """Return a whole answer as it goes on, once its calls are ruled: the very bytes if all may."""
        ...


class CallHold:
    """The held part of one streamed answer."""

    __slots__ = ("_bytes_max", "_framer", "_grammar", "_queue", "_waiting_bytes", "fault", "offending")

    def __init__(self, grammar: Grammar, *, bytes_max: int) -> None:
        """`bytes_max` bounds what waits for a call that is not complete."""
        self._grammar = grammar
        self._bytes_max = bytes_max
        self._framer = Framer()
        self._queue: deque[Part] = deque()
        self._waiting_bytes = 0
        self.fault: Fault | None = None
        """Why nothing behind what is held can be read: the answer ends where its queue ends."""
        self.offending = b""
        """What could not be read."""

    @property
    def waits(self) -> bool:
        """Something is held for a call that is not complete."""
        return bool(self._waiting_bytes)

    @property
    def ready(self) -> bool:
        """Calls are complete and wait for their verdicts."""
        return bool(self._grammar.calls.ready)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those that pass at once."""
        if self.fault is not None:
            return b""
        region = self._framer.feed(chunk)
        out = self._pass(region) if region else b""
        if self._framer.held_bytes > TOOL_EVENT_BYTES_MAX:
            self._break(Fault.EVENT_TOO_LARGE, self._framer.rest())
        return out

    def end(self) -> bytes:
        """Say that no more bytes come; return those that pass. What is not complete is never ruled."""
        rest = self._framer.rest()
        return self._pass(rest) if rest and self.fault is None else b""

    def take_ready(self) -> list[Call]:
        """Return the calls that have become complete, in the order in which they did."""
        return self._grammar.calls.take_ready()

    def rule(self, verdicts: Iterable[tuple[Call, Verdict]]) -> bytes:
        """Take the verdicts of calls that were ready; return what may go on now."""
        for call, verdict in verdicts:
            call.verdict = verdict
        out: list[bytes] = []
        self._drain(out)
        return b"".join(out)

    def give_up(self, fault: Fault) -> None:
        """Refuse the calls that are not complete: they are too large, or have been held for too long."""
        self._grammar.calls.end_all(fault)
        self._weigh()

    def surrender(self) -> bytes:
        """Return everything that is held, as it came: for a gateway that only watches."""
        held = b"".join([part.frame for part in self._queue])
        self._queue.clear()
        return held + self.offending + self._framer.rest()

    def _pass(self, region: bytes) -> bytes:
        needles = self._grammar.needles
        if not self._queue and len(region) <= TOOL_EVENT_BYTES_MAX and not may_hold_call(region, needles):
            return region
        out: list[bytes] = []
        for frame in split_frames(region):
            if self.fault is not None:
                self.offending += frame
            elif len(frame) > TOOL_EVENT_BYTES_MAX:
                self._break(Fault.EVENT_TOO_LARGE, frame)
            elif self._queue or may_hold_call(frame, needles):
                self._take(frame, out)
            else:
                out.append(frame)
        return b"".join(out)

    def _take(self, frame: bytes, out: list[bytes]) -> None:
        calls = self._grammar.calls
        ended = len(calls.begun) - len(calls.open)
        try:
            part = self._grammar.read(frame)
        except UnreadableError as error:
            if may_hold_call(frame, self._grammar.needles):
                self._break(error.fault, frame)
                return
            part = Part(frame)
        if part.overtakes:
            self._overtake(part, out)
            return
        self._queue.append(part)
        if self._waiting_bytes and len(calls.begun) - len(calls.open) == ended:
            self._waiting_bytes += len(frame)
        else:
            self._weigh()
        if self._waiting_bytes > self._bytes_max:
            self.give_up(Fault.OVERSIZED)
        if len(calls.begun) > TOOL_CALLS_MAX:
            self._break(Fault.TOO_MANY, b"")
        self._drain(out)

    def _overtake(self, part: Part, out: list[bytes]) -> None:
        """Let a frame pass what waits for an incomplete call; it does not pass what only waits to be ruled.

        Whether that has been ruled already is a matter of how the stream was cut.
        """
        place = next(
            (at for at, held in enumerate(self._queue) if any(not call.complete for call in held.calls)),
            len(self._queue),
        )
        if place:
            self._queue.insert(place, part)
        else:
            out.append(part.frame)

    def _weigh(self) -> None:
        """Weigh what waits for a call that is not complete; what waits for a verdict only is not counted."""
        self._waiting_bytes = 0
        for part in self._queue:
            if self._waiting_bytes or any(not call.complete for call in part.calls):
                self._waiting_bytes += len(part.frame)

    def _drain(self, out: list[bytes]) -> None:
        while self._queue and all(call.verdict is not None for call in self._queue[0].calls):
            out.append(self._grammar.render(self._queue.popleft()))

    def _break(self, fault: Fault, frame: bytes) -> None:
        self.fault = fault
        self.offending = frame
