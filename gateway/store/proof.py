"""A decision's place in the ledger, looked up in either database: see `gateway.records.proof`.

The link before an entry is that of the writer's entry before it; where retention has cut that one off,
the sealed segment keeps its link.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.records.chain import genesis
from gateway.records.proof import Proof
from gateway.store.rows import ENTRY_LIST, header_of
from gateway.store.segments import read_cuts

if TYPE_CHECKING:  # the driver of PostgreSQL need not be installed
    from gateway.store.postgres_schema import Connection

_ENTRY_COLUMNS: Final = ", ".join(f"entries.{column}" for column in ENTRY_LIST.split(", "))
_PLACE: Final = (
    f"SELECT entries.position, writers.number, writers.writer, entries.seq, entries.link, {_ENTRY_COLUMNS} "  # noqa: S608 - constants
    "FROM entries JOIN writers ON writers.number = entries.writer WHERE entries.entry_id = "
)
_HEADS: Final = "SELECT last_position, heads FROM segments ORDER BY number"


def sqlite_proof(connection: sqlite3.Connection, entry_id: str) -> Proof | None:
    """Return the proof of an entry, or None where there is none of that id."""
    row = connection.execute(f"{_PLACE}?", (entry_id,)).fetchone()
    if row is None:
        return None
    # By position: entries of one writer lie in the order of their sequence.
    last = connection.execute(
        "SELECT link, seq FROM entries NOT INDEXED WHERE position < ? AND writer = ? "
        "ORDER BY position DESC LIMIT 1",
        (row[0], row[1]),
    ).fetchone()
    before = last if last and last[1] == row[3] - 1 else None
    heads = [] if before else connection.execute(_HEADS).fetchall()
    return _proof(row, before, heads)


async def postgres_proof(connection: Connection, entry_id: str) -> Proof | None:
    """Return the proof of an entry, or None where there is none of that id."""
    row = await connection.fetchrow(f"{_PLACE}$1", entry_id)
    if row is None:
        return None
    before = await connection.fetchrow(
        "SELECT link FROM entries WHERE writer = $1 AND seq = $2", row[1], row[3] - 1
    )
    heads = [] if before else await connection.fetch(_HEADS)
    return _proof(tuple(row), before, heads)


def _proof(row: Sequence[Any], before: Sequence[Any] | None, heads: Sequence[Sequence[Any]]) -> Proof | None:
    _, _, writer, seq, link, *columns = row
    if before is not None:
        link_before = bytes(before[0])
    elif seq == 0:
        link_before = genesis(writer)
    else:
        cuts = read_cuts(heads)
        head = cuts.heads.get(writer)
        found = head.link if head is not None and head.seq == seq - 1 else cuts.before.get((writer, seq))
        if found is None:
            return None
        link_before = found
    return Proof(writer, seq, link_before, header_of(columns), bytes(link))
