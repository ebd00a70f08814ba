"""One writer's end of the ledger: numbers and binds what is about to be stored.

Pure state, shared by every driver. It moves on only when the driver says that a batch is durable; a batch
that failed leaves no gap. A writer is new with each opening, so that its head lives here and is never read
back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from gateway.records.chain import genesis, link
from gateway.store.anchor import Head
from gateway.store.rows import COLUMNS, Sealed

LedgerRow: TypeAlias = tuple[Any, ...]
"""In the order of `COLUMNS`."""

SETTLED_WHOLLY: Final = (1 << 63) - 1
"""The watermark of a writer that is gone and has nothing open."""
OPEN_MAX: Final = 65_536
"""Open decisions that are remembered; more than can be in flight, so that the memory stays bounded."""

_SEQ: Final = COLUMNS.index("seq")
_LINK: Final = COLUMNS.index("link")
_ID: Final = COLUMNS.index("entry_id")
_AWAITS: Final = COLUMNS.index("awaits_outcome")
_DECISION: Final = COLUMNS.index("decision_id")
_LABEL: Final = COLUMNS.index("label")


class Ledger:
    """The head of a chain. `number` is what the writer is called in the database."""

    def __init__(self, writer: str, number: int, place: int) -> None:
        self.writer = writer
        self.number = number
        self.open_decisions = OpenDecisions(place)
        self._next_seq = 0
        self._link = genesis(writer)

    def head(self, now_ms: int) -> Head:
        """Return the last durable entry (sequence -1 and the genesis link before the first)."""
        return Head(self.writer, self._next_seq - 1, self._link, now_ms)

    def bind(self, groups: Iterable[Sequence[Sealed]]) -> tuple[list[tuple[int, int]], list[LedgerRow]]:
        """Return each group's first and last sequence number, and the rows of all; changes nothing."""
        spans: list[tuple[int, int]] = []
        rows: list[LedgerRow] = []
        number, seq, before = self.number, self._next_seq, self._link
        for entries in groups:
            first = seq
            for entry in entries:
                before = link(before, entry.header, entry.row[-1])
                rows.append((number, seq, before, *entry.row))
                seq += 1
            spans.append((first, seq - 1))
        return spans, rows

    def advance(self, rows: Sequence[LedgerRow], last_place: int) -> None:
        """Take note that rows are durable, in one run of places that ends at `last_place`."""
        if rows:
            self._next_seq = rows[-1][_SEQ] + 1
            self._link = rows[-1][_LINK]
            self.open_decisions.note(rows, last_place)


class OpenDecisions:
    """Which decisions of this writer still await their outcome, and so up to which place all is settled.

    A place is whatever number of the database rises along the chain: a position, or the sequence.
    """

    def __init__(self, place: int) -> None:
        self._open: dict[str, int] = {}
        self._last = place
        self._floor: int | None = None

    def note(self, rows: Sequence[LedgerRow], last_place: int) -> None:
        """Take note of rows that were stored as one run ending at `last_place`."""
        place = last_place - len(rows)
        still_open = self._open
        for row in rows:
            place += 1
            if row[_AWAITS]:
                still_open[row[_ID]] = place
            elif row[_DECISION] is not None and row[_LABEL] == "outcome":
                still_open.pop(row[_DECISION], None)
        self._last = last_place
        while len(still_open) > OPEN_MAX:
            oldest = still_open.pop(next(iter(still_open)))
            if self._floor is None:
                self._floor = oldest

    def settled_up_to(self, *, last: bool) -> int:
        """Return the place up to which this writer left nothing open; `last`: it writes no more."""
        if self._floor is not None:
            return self._floor - 1
        if self._open:
            return next(iter(self._open.values())) - 1
        return SETTLED_WHOLLY if last else self._last
