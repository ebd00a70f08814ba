"""After a crash: what becomes of decisions whose exchange died with its process.

Their fate is not known and is never guessed: each gets one `outcome` event that says `unknown`. Its id is
made from the decision's, so that the database itself refuses a second one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from gateway.kernel.clock import rfc3339
from gateway.kernel.errors import ConflictError
from gateway.kernel.ids import RANDOM_BYTES, ulid
from gateway.kernel.types import Fate
from gateway.records.types import DecisionEntry, Entry, EventEntry
from gateway.store.port import Receipt

SWEEP_ENTRIES: Final = 200
"""Decisions marked in one commit: less than a full batch, so that live traffic fits beside it."""
_REASON: Final = "the process that forwarded it died before it recorded an outcome"


def unknown_outcome(decision: DecisionEntry, now_ms: int) -> EventEntry:
    """Return the event that gives a decision the fate `unknown`."""
    digest = hashlib.sha256(b"unknown\x00" + decision.entry_id.encode()).digest()
    event_id = ulid(max(0, decision.at_ms) & ((1 << 48) - 1), digest[:RANDOM_BYTES])
    body = {
        "at": rfc3339(now_ms),
        "data": {"fate": Fate.UNKNOWN.value, "reason": _REASON},
        "decision_id": decision.entry_id,
        "event_id": event_id,
        "type": "outcome",
    }
    return EventEntry(
        entry_id=event_id,
        tenant=decision.tenant,
        at_ms=now_ms,
        decision_id=decision.entry_id,
        event_type="outcome",
        body=orjson.dumps(body, option=orjson.OPT_SORT_KEYS),
    )


async def sweep(
    left_open: Callable[[int, int], Awaitable[Sequence[tuple[int, DecisionEntry]]]],
    place: int,
    submit: Callable[[Sequence[Entry]], Awaitable[Receipt]],
    now_ms: int,
) -> int:
    """Mark all that one dead writer left open after a place; return how many decisions.

    `left_open(place, limit)` gives what is still open after a place, each with its own place.
    """
    count = 0
    while found := await left_open(place, SWEEP_ENTRIES):
        place = found[-1][0]
        waiting = [submit((unknown_outcome(decision, now_ms),)) for _, decision in found]
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            if isinstance(outcome, ConflictError):
                continue  # Another start has marked it between our look and our write.
            if isinstance(outcome, BaseException):
                raise outcome
            count += 1
    return count
