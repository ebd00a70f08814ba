"""Cuts a stream of server-sent events into whole events and loses no byte of it.

Framing as in the HTML standard (9.2.6): a line ends with LF, CR LF or CR, and a blank line ends an event. A
frame is an event with everything up to and with the line end of its blank line; the frames of a stream, put
together again, are the stream. Cut the same bytes anywhere and the frames are the same.

Readers of events are not equally strict, so what is read here is what any of them might read: a line may
begin with white space or a byte order mark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BLANK: Final = re.compile(rb"(?<=\n)\n|(?<=[\r\n])\r(?:\n|(?=[^\n]))")
"""The line end of a blank line. A CR at the very end is none yet: its LF may be on the way."""
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class Framer:
    """Feed it chunks in order, cut anywhere; it gives back the bytes up to the last whole frame."""

    __slots__ = ("_held", "_seen", "held_bytes")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._seen = b"\n"
        """The last two bytes of the stream so far; a stream begins as if behind a line end."""
        self.held_bytes = 0
        """Bytes of the frame that has begun and not ended."""

    def feed(self, chunk: bytes) -> bytes:
        """Return every whole frame that ends in this chunk, as one piece; often the chunk itself."""
        if chunk.endswith(b"\n\n") and not self._held and b"\r" not in chunk:
            self._seen = b"\n\n"
            return chunk
        end = self._last_end(self._seen + chunk) - len(self._seen)
        self._seen = (self._seen + chunk)[-2:]
        if end < 0 or (end == 0 and not self._held):
            self._hold(chunk)
            return b""
        region = b"".join((*self._held, chunk[:end]))
        self._held.clear()
        self.held_bytes = 0
        self._hold(chunk[end:])
        return region

    def rest(self) -> bytes:
        """Return what is left at the end of the stream: the beginning of a frame that never ended."""
        rest = b"".join(self._held)
        self._held.clear()
        self.held_bytes = 0
        return rest

    def _hold(self, part: bytes) -> None:
        if part:
            self._held.append(part)
            self.held_bytes += len(part)

    @staticmethod
    def _last_end(data: bytes) -> int:
        if b"\r" not in data:
            at = data.rfind(b"\n\n")
            return at + 2 if at >= 0 else -1
        end = -1
        for match in _BLANK.finditer(data):
            end = match.end()
        return end


def split_frames(region: bytes) -> list[bytes]:
    """Return the frames of a region that a `Framer` gave back; what follows the last one is one too."""
    frames: list[bytes] = []
    at = 0
    for match in _BLANK.finditer(b"\n" + region):
        frames.append(region[at : match.end() - 1])
        at = match.end() - 1
    if at < len(region):
        frames.append(region[at:])
    return frames


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name (empty where it has none) and its data, lines joined with LF."""

    name: str
    data: bytes


def read_event(frame: bytes) -> ServerEvent:
    """Return the event of a frame; one without data has none."""
    name = ""
    data: list[bytes] = []
    for line in _LINE_END.split(frame):
        field, value = _field(line)
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip().decode("latin-1")
    return ServerEvent(name, b"\n".join(data))


def _field(line: bytes) -> tuple[bytes, bytes]:
    field, _, value = line.removeprefix(_BOM).lstrip().partition(b":")
    return field.rstrip(), value


def make_frame(data: bytes, name: str = "") -> bytes:
    """Return an event in the spelling that every client reads."""
    head = b"event: %b\n" % name.encode("latin-1") if name else b""
    return b"%bdata: %b\n\n" % (head, data)


def with_data(frame: bytes, data: bytes) -> bytes:
    """Return a frame with other data; its other lines stay, in the spelling that they have."""
    out: list[bytes] = []
    at, done = 0, False
    for match in _LINE_END.finditer(frame):
        line, end = frame[at : match.start()], match.group()
        at = match.end()
        if _field(line)[0] != b"data":
            out.append(line + end)
        elif not done:
            out.append(b"data: " + data + end)
            done = True
    if (tail := frame[at:]) and _field(tail)[0] != b"data":
        out.append(tail)
    elif tail and not done:
        out.append(b"data: " + data)
    return b"".join(out)
