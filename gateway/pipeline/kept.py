"""Decisions that are stored: read back with their events, and what happens to them later appended.

Needs no policy: what was decided can be read, labelled and given its outcome whatever is in force now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.kernel.clock import Clock
from gateway.kernel.errors import ConflictError, InvalidRequestError, NotFoundError, StoreUnavailableError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSON, JSONObject, Scope
from gateway.pipeline.journal import ATTEMPT, event_entry
from gateway.pipeline.remember import WITHDRAW, MemoryFeed, labelled, read_label, withdrawn
from gateway.records.approvals import KIND as APPROVAL
from gateway.records.types import DecisionEntry, EventEntry, MemoryEntry
from gateway.store.port import Store

_APPROVAL_HINT = "approve or deny on /admin/approvals, or with `lumyn approvals`"
EVENT_TYPES = frozenset({"outcome", "label", "note", "override"})
"""The four types of the contract; approvals are overrides with a kind, attempts are notes with one."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The ids of an event that is durable, and of the memory entry that it made, if any."""

    event_id: str
    memory_id: str | None = None


class KeptDecisions:
    """Reads decisions back and appends events to them."""

    def __init__(self, store: Store, clock: Clock, ids: IdSource, memory: MemoryFeed) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._memory = memory

    async def read(self, scope: Scope, decision_id: str) -> bytes:
        """Return a record with its events in `decision_event_log`, which is absent while there are none.

        Raises NotFoundError.
        """
        kept = await self._store.decision(scope, decision_id)
        if kept is None:
            raise NotFoundError("not found")
        return with_events(kept.body, await self._store.events(scope, decision_id))

    async def append_event(
        self, scope: Scope, decision_id: str, event_type: str, data: JSONObject, *, acted: bool = False
    ) -> Appended:
        """Append an event to a decision and return once it is durable.

        A `label` makes a memory item in the same commit, and an `override` of kind `withdraw` takes one
        back; decisions after the return of this call see either. Where a decision awaits an outcome,
        each has one fate, recorded by who acted: `acted` says that it is the caller, as it promised
        with `will_act`. Raises NotFoundError, InvalidRequestError with a pointer, and ConflictError for
        an outcome that is not the caller's to record, or that stands there already.
        """
        if event_type not in EVENT_TYPES:
            wanted = ", ".join(sorted(EVENT_TYPES))
            raise InvalidRequestError("unknown event type", pointer="/type", hint=f"use one of {wanted}")
        if event_type == "override" and data.get("kind") == APPROVAL:
            raise InvalidRequestError(
                "nobody approves by an event", pointer="/data/kind", hint=_APPROVAL_HINT
            )
        if event_type == "note" and data.get("kind") == ATTEMPT:
            raise InvalidRequestError("whoever forwards records its attempts", pointer="/data/kind")
        kept = await self._store.decision(scope, decision_id)
        if kept is None:
            raise NotFoundError("not found")
        if event_type == "outcome" and kept.awaits_outcome:
            await self._check_one_fate(scope, decision_id, acted=acted)
        at_ms = self._clock.wall_ms()
        data, memory = await self._remembered(scope, kept, event_type, data, at_ms)
        event = event_entry(
            event_id=self._ids.new(),
            decision_id=decision_id,
            tenant=kept.tenant,
            at_ms=at_ms,
            event_type=event_type,
            data=data,
        )
        if memory is None:
            await self._store.submit((event,))
            return Appended(event.entry_id)
        await self._store.submit((event, memory))
        # Both are durable: where they cannot be read back just now, the feed will come to it.
        with contextlib.suppress(StoreUnavailableError):
            await self._memory.refresh()
        return Appended(event.entry_id, memory.entry_id)

    async def _check_one_fate(self, scope: Scope, decision_id: str, *, acted: bool) -> None:
        reason = "who acted on this decision records its outcome"
        if acted:
            events = await self._store.events(scope, decision_id)
            if all(event.event_type != "outcome" for event in events):
                return
            reason = "this decision has its outcome already"
        raise ConflictError(reason, code="OUTCOME_CONFLICT", pointer="/type", hint="append a label or a note")

    async def _remembered(
        self, scope: Scope, kept: DecisionEntry, event_type: str, data: JSONObject, at_ms: int
    ) -> tuple[JSONObject, MemoryEntry | None]:
        """Return an event's data as it is kept, and the memory entry that goes with it."""
        if event_type == "label":
            label, summary = read_label(data)
            memory_id = self._ids.new()
            memory = labelled(kept, memory_id=memory_id, at_ms=at_ms, label=label, summary=summary)
            return {**data, "label": label, "memory_id": memory_id}, memory
        if event_type == "override" and data.get("kind") == WITHDRAW:
            events = await self._store.events(scope, kept.entry_id)
            return data, withdrawn(kept, events, data, memory_id=self._ids.new(), at_ms=at_ms)
        return data, None


def with_events(record: bytes, events: Sequence[EventEntry]) -> bytes:
    """Return a record with its events, or the record's own bytes where there are none."""
    if not events:
        return record
    value = orjson.loads(record)
    value["decision_event_log"] = [_shown(orjson.loads(event.body)) for event in events]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _shown(event: JSON) -> JSONObject:
    return {name: event[name] for name in ("event_id", "at", "type", "data") if name in event}
