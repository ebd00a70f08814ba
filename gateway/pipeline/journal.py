"""Turns what happened into entries for the store: decisions with their columns, outcomes with their facts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from gateway.engine.decide import Decision
from gateway.kernel.canon import canonical_bytes, own_bytes
from gateway.kernel.clock import Clock, rfc3339
from gateway.kernel.errors import StoreError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject, Tenant
from gateway.pipeline.announce import Announcer
from gateway.records.types import ControlEntry, DecisionEntry, EventEntry
from gateway.store.port import Store

ATTEMPT: Final = "attempt"
"""`data.kind` of the note that is committed before a further attempt (contract A11 has four event types)."""


def decision_entry(
    decision: Decision,
    *,
    tenant: Tenant,
    at_ms: int,
    model: str | None = None,
    correlation_id: str | None = None,
    request_key: str | None = None,
    request_digest: str | None = None,
    awaits_outcome: bool,
) -> DecisionEntry:
    """Return the entry that keeps a decision."""
    return DecisionEntry(
        entry_id=decision.decision_id,
        tenant=tenant,
        at_ms=at_ms,
        action_type=decision.action_type,
        verdict=decision.verdict.value,
        reason_codes=decision.reason_codes,
        policy_hash=decision.policy_hash,
        model=model,
        correlation_id=correlation_id,
        request_key=request_key,
        request_digest=request_digest,
        awaits_outcome=awaits_outcome,
        body=decision.body,
    )


def event_entry(
    *,
    event_id: str,
    decision_id: str,
    tenant: Tenant,
    at_ms: int,
    event_type: str,
    data: JSONObject,
    own: bool = False,
) -> EventEntry:
    """Return the entry that keeps an event of a decision; `own` data is what `canon.own_bytes` takes."""
    # Ids, instants and types are ASCII without escapes: only the data needs the canonical writer.
    body = b'{"at":"%b","data":%b,"decision_id":"%b","event_id":"%b","type":"%b"}' % (
        rfc3339(at_ms).encode(),
        own_bytes(data) if own else canonical_bytes(data),
        decision_id.encode(),
        event_id.encode(),
        event_type.encode(),
    )
    return EventEntry(
        entry_id=event_id,
        tenant=tenant,
        at_ms=at_ms,
        decision_id=decision_id,
        event_type=event_type,
        body=body,
    )


class ControlJournal:
    """Keeps control records in the same ledger: ticks under pressure, epochs, changes of mode and intents."""

    def __init__(self, store: Store, clock: Clock, ids: IdSource, announcer: Announcer) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self._announcer = announcer

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Queue one record and say it; nobody waits for it, and a store that is down says so itself."""
        self._announcer.record(kind, body)
        entry = ControlEntry(self._ids.new(), self._clock.wall_ms(), kind, canonical_bytes(body))
        with contextlib.suppress(StoreError):
            _ = self._store.submit((entry,), reserved=True)
