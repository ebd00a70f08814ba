"""The events of an MCP stream, each with the bytes it came in; cut anywhere, the same events.

Framing as in the HTML standard (9.2.6): lines end with LF, CR LF or CR, an event ends with a blank line. What
is not changed is relayed as its own bytes: comments, ids, retry hints and priming events among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.kernel.errors import UpstreamBrokenError

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_LF: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One event, up to and with its blank line. `data` is None where it has no `data:` line."""

    raw: bytes
    data: bytes | None
    identified: bool = False
    """It has an id that a client may go on from."""
    tail: bool = False
    """The LF of a CR LF whose CR ended the event before: it goes where that event went."""


class EventSplitter:
    """Feed it chunks in order."""

    __slots__ = ("_after_cr", "_bytes_max", "_data", "_held", "_identified", "_line", "_raw")

    def __init__(self, bytes_max: int) -> None:
        """Take the bound of one event: beyond it the stream cannot be judged and is broken off."""
        self._bytes_max = bytes_max
        self._raw: list[bytes] = []
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._held = 0
        self._identified = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that end in this chunk. Raises UpstreamBrokenError for one over the bound."""
        at = 0
        if self._after_cr and chunk.startswith(_LF):
            at = 1
            if self._raw:
                self._raw.append(_LF)
            else:
                yield Event(_LF, None, tail=True)
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        for match in _LINE_END.finditer(chunk, at):
            self._line.append(chunk[at : match.start()])
            self._hold(chunk[at : match.end()])
            at = match.end()
            if (event := self._end_line()) is not None:
                yield event
        if at < len(chunk):
            self._line.append(chunk[at:])
            self._hold(chunk[at:])

    def rest(self) -> bytes:
        """Return what has come since the last event: at the end of a stream it is no event."""
        return b"".join(self._raw)

    def _hold(self, piece: bytes) -> None:
        self._raw.append(piece)
        self._held += len(piece)
        if self._held > self._bytes_max:
            raise UpstreamBrokenError(f"an event of the server is over {self._bytes_max} bytes")

    def _end_line(self) -> Event | None:
        line = b"".join(self._line)
        self._line.clear()
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif name == b"id":
                self._identified = bool(value.strip())
            return None
        data = b"\n".join(self._data) if self._data else None
        event = Event(b"".join(self._raw), data, self._identified)
        self._identified = False
        self._raw.clear()
        self._data.clear()
        self._held = 0
        return event


def with_data(event: Event, data: bytes) -> bytes:
    """Return an event's bytes with other data, on one line; its name, id and comments stay."""
    lines = [line for line in _LINE_END.split(event.raw) if line and line.partition(b":")[0] != b"data"]
    return b"".join(line + _LF for line in (*lines, b"data: " + data)) + _LF


def message_event(data: bytes) -> bytes:
    """Return an event that carries one message."""
    return b"event: message\ndata: " + data + b"\n\n"
