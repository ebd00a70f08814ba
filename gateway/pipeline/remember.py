"""Experience memory kept up to date: labels become memory items, and the live index follows the store.

The index is only ever fed from the store, in the order of its commits, so that the prefix of the log
that a record names is the same in every process. A label of this process is read back at once, labels
of others within `FOLLOW_S`. Nothing here may add to the index what is not durable yet.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson

from gateway.kernel.clock import rfc3339
from gateway.kernel.errors import InvalidRequestError, RecordError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT, JSONObject, Tenant
from gateway.memory.items import LABELS, MemoryItem, MemoryWithdrawal, encode, remember
from gateway.memory.snapshot import MemoryIndex
from gateway.records.types import DecisionEntry, EventEntry, MemoryEntry
from gateway.store.port import Store
from gateway.telemetry.log import LOG, name_fault

FOLLOW_S: Final = 0.5
"""Labels of another process arrive within a second (design 10): half of it for the pause, half to read."""
READ_ITEMS: Final = 5_000
"""Items read at a time while catching up: some 2 MB, and the loop is held for tens of milliseconds."""
DECODE_ITEMS: Final = 200
"""Items added before the loop may serve others: about 2 ms."""
SUMMARY_CHARS_MAX: Final = 2_000
"""A summary is a sentence for people; each record that the item resembles carries it."""
WITHDRAW: Final = "withdraw"
"""`data.kind` of the override that takes a memory item out of comparison."""


class MemoryFeed:
    """Feeds one index from one store; belongs to the event loop that it is used on.

    `lazy` says that nobody may ever ask the index: then a label alone does not fill it.
    """

    def __init__(self, store: Store, index: MemoryIndex, *, lazy: bool = False) -> None:
        self._store = store
        self._index = index
        self._position = 0
        self._reading = asyncio.Lock()
        self._failing = False
        self._asked = not lazy

    async def refresh(self) -> None:
        """Catch up with what this process has just written, unless nobody has asked the index yet."""
        if self._asked:
            await self.catch_up()

    async def catch_up(self) -> int:
        """Add what was committed since the last call; return how many entries.

        Raises StoreUnavailableError where the store cannot be read. An entry that is damaged is left
        out and logged: `lumyn verify` names it.
        """
        count = 0
        self._asked = True
        async with self._reading:
            while True:
                found = await self._store.memory(EVERY_TENANT, after=self._position, limit=READ_ITEMS)
                for number, (position, entry) in enumerate(found):
                    self._add(entry)
                    self._position = position
                    if number % DECODE_ITEMS == DECODE_ITEMS - 1:
                        await asyncio.sleep(0)
                count += len(found)
                if len(found) < READ_ITEMS:
                    return count

    async def follow(self) -> None:
        """Catch up again and again until cancelled; a store that cannot be read is logged once."""
        while True:
            await asyncio.sleep(FOLLOW_S)
            try:
                await self.catch_up()
                self._failing = False
            except StoreUnavailableError as error:
                if not self._failing:
                    LOG.warning("memory cannot be read", extra={"facts": name_fault(error)})
                self._failing = True

    def _add(self, entry: MemoryEntry) -> None:
        try:
            self._index.add_body(entry.tenant.tenant_id, entry.body)
        except RecordError:
            LOG.error("memory item cannot be read", extra={"facts": {"memory_id": entry.entry_id}})


def read_label(data: JSONObject) -> tuple[str, str | None]:
    """Return label and summary of a label event's data. Raises InvalidRequestError with a pointer."""
    label = data.get("label")
    if isinstance(label, str):
        label = label.strip().lower()
    if label not in LABELS:
        known = ", ".join(LABELS)
        raise InvalidRequestError("unknown label", pointer="/data/label", hint=f"use one of {known}")
    return label, _summary(data)


def labelled(
    kept: DecisionEntry, *, memory_id: str, at_ms: int, label: str, summary: str | None
) -> MemoryEntry:
    """Return the memory entry that labels a stored decision."""
    item = remember(orjson.loads(kept.body), memory_id=memory_id, at_ms=at_ms, label=label, summary=summary)
    return _entry(item, kept.tenant, at_ms)


def withdrawn(
    kept: DecisionEntry, events: tuple[EventEntry, ...], data: JSONObject, *, memory_id: str, at_ms: int
) -> MemoryEntry:
    """Return the entry that takes an item of this decision out of comparison.

    `data.memory_id` names the item, which must come from a label of this very decision: so nobody can
    withdraw what is not theirs. Raises InvalidRequestError.
    """
    wanted = data.get("memory_id")
    # Of labels only: any other event holds what its caller wrote, which may be another's id.
    labels = (orjson.loads(event.body) for event in events if event.event_type == "label")
    known = {label["data"].get("memory_id") for label in labels}
    if not isinstance(wanted, str) or wanted not in known:
        raise InvalidRequestError(
            "no label of this decision made that memory item",
            pointer="/data/memory_id",
            hint="the decision's label events name their memory_id",
        )
    withdrawal = MemoryWithdrawal(
        memory_id=memory_id,
        tenant_id=kept.tenant.tenant_id,
        created_at=rfc3339(at_ms),
        action_type=kept.action_type,
        withdraws=wanted,
        summary=_summary(data) or "withdrawn",
    )
    return _entry(withdrawal, kept.tenant, at_ms)


def _summary(data: JSONObject) -> str | None:
    summary = data.get("summary")
    if summary is None:
        return None
    if not isinstance(summary, str) or len(summary) > SUMMARY_CHARS_MAX:
        raise InvalidRequestError(
            f"summary must be a string of at most {SUMMARY_CHARS_MAX} characters", pointer="/data/summary"
        )
    return summary.strip() or None


def _entry(item: MemoryItem | MemoryWithdrawal, tenant: Tenant, at_ms: int) -> MemoryEntry:
    return MemoryEntry(
        entry_id=item.memory_id,
        tenant=tenant,
        at_ms=at_ms,
        action_type=item.action_type,
        label=item.label,
        body=encode(item),
    )
