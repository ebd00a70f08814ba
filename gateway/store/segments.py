"""What retention left behind: how chains that were cut go on, and which old entries were kept.

A sealed segment is the stretch of positions up to `last_position` of which all that may go has gone. Its
row in the database says, as JSON:

    heads      [[writer, seq, link], ...]            the last entry there of each writer, kept or not
    kept       [[writer, first, last, before], ...]  runs that were kept, and the link before each
    released   [[writer, first, last], ...]          runs that an earlier segment kept and this one did not

Segments are read together, in the order of their numbers. Nothing here may talk to a database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from gateway.store.anchor import Head

Kept: TypeAlias = tuple[str, int, int, bytes]
"""Writer, first and last sequence of a run, and the link before it."""
Run: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Cuts:
    """All segments together. `last_position` is 0 where nothing was ever sealed."""

    last_position: int
    heads: Mapping[str, Head]
    before: Mapping[tuple[str, int], bytes]
    """The link before a kept entry, by writer and sequence, where a run begins."""
    kept: frozenset[tuple[str, int]]


def segment_text(heads: Iterable[Head], kept: Iterable[Kept], released: Iterable[Run]) -> str:
    """Return what a segment's row says."""
    value = {
        "heads": [[head.writer, head.seq, head.link.hex()] for head in heads],
        "kept": [[writer, first, last, before.hex()] for writer, first, last, before in kept],
        "released": [list(run) for run in released],
    }
    return orjson.dumps(value).decode()


def read_cuts(rows: Iterable[Sequence[Any]]) -> Cuts:
    """Return what `(last_position, text)` rows, in the order of their numbers, say together.

    Raises ValueError where one is not what `segment_text` wrote.
    """
    last_position = 0
    heads: dict[str, Head] = {}
    before: dict[tuple[str, int], bytes] = {}
    kept: set[tuple[str, int]] = set()
    for position, text in rows:
        last_position = max(last_position, position)
        value = orjson.loads(text)
        try:
            for writer, seq, link in value["heads"]:
                if writer not in heads or heads[writer].seq < seq:
                    heads[writer] = Head(writer, seq, bytes.fromhex(link), 0)
            for writer, first, last in value["released"]:
                kept.difference_update((writer, seq) for seq in range(first, last + 1))
            for writer, first, last, link in value["kept"]:
                before[writer, first] = bytes.fromhex(link)
                kept.update((writer, seq) for seq in range(first, last + 1))
        except (KeyError, TypeError) as error:
            raise ValueError(f"a sealed segment cannot be read: {error}") from error
    return Cuts(last_position, heads, before, frozenset(kept))
