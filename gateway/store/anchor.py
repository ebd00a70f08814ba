"""The head of the chain, kept outside the store, so that a tail cut off the store is noticed.

An append-only file of one line a second at most, `<seq> <link> <at_ms> <writer>`, written after the
commit it names: the store always holds what the anchor says. A hook hands each head on as well, for a
log that lies on another machine. What was committed after the last line, up to a second, is not anchored.

The file is not flushed: after a power cut it may lack lines, and then names an older head, never a false one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from gateway.records.chain import LINK_BYTES


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of one writer's chain at an instant; `seq` -1 where it has written nothing."""

    writer: str
    seq: int
    link: bytes
    at_ms: int


OnHead: TypeAlias = Callable[[Head], None]

_FIELDS: Final = 4


def anchor_path(database: Path) -> Path:
    """Return where the anchor of a database file lies: beside it."""
    return database.with_name(database.name + "-anchor")


class AnchorFile:
    """Appends heads to a file, where there is one, and tells the hook. Raises OSError where it cannot open.

    Several processes may share the file: one line is one write to its end.
    """

    def __init__(self, path: Path | None, on_head: OnHead | None = None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = -1 if path is None else os.open(path, flags, 0o600)
        self._on_head = on_head
        self._last = ("", -1)

    def write(self, head: Head) -> None:
        """Append a head, unless it is the one written last. Raises OSError."""
        if head.seq < 0 or (head.writer, head.seq) == self._last:
            return
        line = f"{head.seq} {head.link.hex()} {head.at_ms} {head.writer}\n"
        if self._descriptor >= 0:
            os.write(self._descriptor, line.encode())
        self._last = (head.writer, head.seq)
        if self._on_head is not None:
            self._on_head(head)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_anchors(path: Path) -> dict[str, Head]:
    """Return the furthest head of each writer; a line that is torn or none of ours is left out."""
    if not path.exists():
        return {}
    with path.open(encoding="ascii", errors="replace") as file:
        return furthest(head for head in map(parse_head, file) if head is not None)


def furthest(heads: Iterable[Head]) -> dict[str, Head]:
    """Return the furthest head of each writer."""
    found: dict[str, Head] = {}
    for head in heads:
        known = found.get(head.writer)
        if known is None or head.seq > known.seq:
            found[head.writer] = head
    return found


def parse_head(line: str) -> Head | None:
    """Return the head that a line of the anchor file names, or None."""
    fields = line.split()
    if len(fields) != _FIELDS or not line.endswith("\n"):
        return None
    seq, link, at_ms, writer = fields
    try:
        head = Head(writer, int(seq), bytes.fromhex(link), int(at_ms))
    except ValueError:
        return None
    return head if len(head.link) == LINK_BYTES else None
