"""Deciding as a service: a request in, its durable record out; reading records back with their events.

Used by `POST /v0/decide`, by the admin pages and by the library. Nothing is forwarded here, so
there is no exchange: a decision is made, committed, and returned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.engine.decide import Decision, Stamp, abstain_on_storage, decide
from gateway.kernel.canon import digest as digest_of
from gateway.kernel.clock import Clock
from gateway.kernel.errors import (
    ConflictError,
    DuplicateKeyError,
    InvalidRequestError,
    NotFoundError,
    StoreBusyError,
    StoreUnavailableError,
)
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSON, JSONObject, Scope, Tenant
from gateway.live import Live
from gateway.pipeline.journal import decision_entry, event_entry
from gateway.pipeline.remember import WITHDRAW, MemoryFeed, labelled, read_label, withdrawn
from gateway.records.redact import verify_context
from gateway.records.types import DecisionEntry, EventEntry, MemoryEntry
from gateway.store.port import Store

EVENT_TYPES = frozenset({"outcome", "label", "note", "override"})
"""The four types of the contract; approvals are overrides with a kind."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The ids of an event that is durable, and of the memory entry that it made, if any."""

    event_id: str
    memory_id: str | None = None


class Decisions:
    """Decides, keeps, reads back."""

    def __init__(self, live: Live, store: Store, clock: Clock, ids: IdSource, memory: MemoryFeed) -> None:
        self._live = live
        self._store = store
        self._clock = clock
        self._ids = ids
        self._memory = memory

    async def decide(self, request: JSONObject, *, will_act: bool = False) -> bytes:
        """Return the record of a validated request, as committed, or the one its key already has.

        `will_act` says that whoever asks is going to act on a TRUST and to append the outcome: without
        one the fate of that decision is unknown.

        A repetition under the same `request_id` must be the same request, by digest and before
        redaction: another one raises ConflictError. Where the store has failed the record says ABSTAIN
        `STORAGE_UNAVAILABLE`; where it is only full, StoreBusyError. Content that is not what
        `context.digest` says: InvalidRequestError.
        """
        verify_context(request)
        tenant = Tenant(request["subject"].get("tenant_id"))
        key = request.get("request_id")
        digest = None if key is None else digest_of(request)
        try:
            if key is not None and (kept := await self._store.decision_by_key(tenant, key)) is not None:
                return _same_request(kept, digest)
            decision, at_ms = self._judge(request)
            if decision.dry_run:
                return decision.body
            entry = decision_entry(
                decision,
                tenant=tenant,
                at_ms=at_ms,
                correlation_id=request.get("trace", {}).get("correlation_id"),
                request_key=key,
                request_digest=digest,
                awaits_outcome=will_act and decision.forwardable,
            )
            return await self._keep(entry)
        except StoreBusyError:
            raise
        except StoreUnavailableError:
            return self._abstain(request)

    def _judge(self, request: JSONObject) -> tuple[Decision, int]:
        snapshot = self._live.snapshot
        at_ms = self._clock.wall_ms()
        decision = decide(
            request,
            policies=snapshot.policies,
            advice=snapshot.advise(request),
            settings=snapshot.engine,
            stamp=Stamp(self._ids.new(), at_ms),
        )
        return decision, at_ms

    async def _keep(self, entry: DecisionEntry) -> bytes:
        try:
            await self._store.submit((entry,))
        except DuplicateKeyError:
            # A twin was faster: the same request gets the twin's record.
            key = entry.request_key
            kept = None if key is None else await self._store.decision_by_key(entry.tenant, key)
            if kept is None:
                raise StoreUnavailableError(
                    "the idempotency key is held and its decision is not there"
                ) from None
            return _same_request(kept, entry.request_digest)
        return entry.body

    def _abstain(self, request: JSONObject) -> bytes:
        snapshot = self._live.snapshot
        return abstain_on_storage(
            request,
            policies=snapshot.policies,
            settings=snapshot.engine,
            stamp=Stamp(self._ids.new(), self._clock.wall_ms()),
        ).body

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


def _same_request(kept: DecisionEntry, digest: str | None) -> bytes:
    if kept.request_digest != digest:
        raise ConflictError(
            "the request_id was used for another request",
            pointer="/request_id",
            hint=f"decision {kept.entry_id} holds it; send a new request_id",
        )
    return kept.body


def with_events(record: bytes, events: Sequence[EventEntry]) -> bytes:
    """Return a record with its events, or the record's own bytes where there are none."""
    if not events:
        return record
    value = orjson.loads(record)
    value["decision_event_log"] = [_shown(orjson.loads(event.body)) for event in events]
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _shown(event: JSON) -> JSONObject:
    return {name: event[name] for name in ("event_id", "at", "type", "data") if name in event}
