"""Reads a store's control records and decisions in step, and has the controller make them again.

Ticks are read a page at a time, and after each page the decisions of its time: so a ledger of any length is
read in bounded memory, and each plan finds its tick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson

from controller.rederive import Rederive
from gateway.kernel.bounds import PAGE_DECISIONS_MAX
from gateway.kernel.types import EVERY_TENANT
from gateway.store.port import CONTROL_RECORDS_MAX, ControlFilter, DecisionFilter

if TYPE_CHECKING:
    from gateway.kernel.types import JSONObject
    from gateway.records.types import DecisionEntry
    from gateway.store.port import ControlRecord, Store

LEAD_MS: Final = 120_000
"""Control records are read from so long before the first decision: its tick stands before it."""
FIND_PAGES_MAX: Final = 60
"""Pages that are searched for the tick of one plan: eight hours under pressure."""

Progress = Callable[[int], None]


async def rederive(store: Store, since_ms: int | None, until_ms: int | None, progress: Progress) -> Rederive:
    """Make every control decision of a span of the ledger again; `progress` hears how many were made."""
    made = Rederive()
    wanted = ControlFilter(since_ms=None if since_ms is None else since_ms - LEAD_MS, until_ms=until_ms)
    after, read_ms = 0, since_ms
    while records := await store.control(EVERY_TENANT, wanted, after=after, limit=CONTROL_RECORDS_MAX):
        for record in records:
            _feed(made, record)
        after, last_ms = records[-1].position, records[-1].entry.at_ms
        if read_ms is None or last_ms > read_ms:
            await _plans(made, store, read_ms, last_ms)
            read_ms = last_ms
        progress(made.total)
    await _plans(made, store, read_ms, until_ms)
    progress(made.total)
    return made


async def rederive_one(store: Store, decision: DecisionEntry) -> Rederive:
    """Make the plan of one decision again, where its record holds one with its table."""
    made = Rederive()
    await _feed_plans(made, store, decision)
    wanted = ControlFilter(control_type="tick", since_ms=decision.at_ms - LEAD_MS)
    after = 0
    for _ in range(FIND_PAGES_MAX):
        if not made.unheld:
            break
        records = await store.control(EVERY_TENANT, wanted, after=after, limit=CONTROL_RECORDS_MAX)
        if not records:
            break
        for record in records:
            made.hold(record.entry.entry_id, orjson.loads(record.entry.body))
        after = records[-1].position
    return made


def control_of(decision: DecisionEntry) -> JSONObject | None:
    """Return the control part of a decision's record; None for what no controller has planned."""
    record = orjson.loads(decision.body)
    extensions = record.get("extensions")
    control: Any = extensions.get("control") if isinstance(extensions, dict) else None
    return control if isinstance(control, dict) else None


def _feed(made: Rederive, record: ControlRecord) -> None:
    entry = record.entry
    made.record(record.writer, entry.control_type, entry.entry_id, orjson.loads(entry.body))


async def _feed_plans(made: Rederive, store: Store, decision: DecisionEntry) -> None:
    """Hand on a decision's plan, and those of its further attempts under another model."""
    control = control_of(decision)
    if control is None:
        return
    made.plan(decision.entry_id, control)
    for event in await store.events(EVERY_TENANT, decision.entry_id):
        if event.event_type == "note" and b'"control":' in event.body:
            data = orjson.loads(event.body)["data"]
            made.plan(f"{decision.entry_id} attempt {data.get('n')}", data["control"])


async def _plans(made: Rederive, store: Store, since_ms: int | None, until_ms: int | None) -> None:
    wanted = DecisionFilter(since_ms=since_ms, until_ms=until_ms)
    cursor: str | None = None
    while True:
        page = await store.decisions(EVERY_TENANT, wanted, limit=PAGE_DECISIONS_MAX, cursor=cursor)
        for decision in page.decisions:
            await _feed_plans(made, store, decision)
        cursor = page.next_cursor
        if cursor is None:
            return
