"""Deciding as a service: a request in, its durable record out.

Used by `POST /v0/decide`, by the admin pages and by the library. Nothing is forwarded here, so
there is no exchange: a decision is made, committed, and returned.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.engine.decide import Decision, Stamp, abstain_on_storage, decide
from gateway.kernel.canon import digest as digest_of
from gateway.kernel.clock import Clock
from gateway.kernel.errors import (
    ConflictError,
    DuplicateKeyError,
    StoreBusyError,
    StoreUnavailableError,
)
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSONObject, Tenant
from gateway.live import Live
from gateway.pipeline.journal import decision_entry
from gateway.pipeline.kept import KeptDecisions
from gateway.pipeline.remember import MemoryFeed
from gateway.records.redact import verify_context
from gateway.records.types import DecisionEntry
from gateway.store.port import Store


class Decisions(KeptDecisions):
    """Decides and keeps, under whatever is live; reads back, and appends what happens later."""

    def __init__(
        self,
        live: Live,
        store: Store,
        clock: Clock,
        ids: IdSource,
        memory: MemoryFeed,
        *,
        noted: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`noted` is told the verdict of each decision that is new on record."""
        super().__init__(store, clock, ids, memory)
        self._live = live
        self._noted = noted

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
        self._noted(entry.verdict)
        return entry.body

    def _abstain(self, request: JSONObject) -> bytes:
        snapshot = self._live.snapshot
        return abstain_on_storage(
            request,
            policies=snapshot.policies,
            settings=snapshot.engine,
            stamp=Stamp(self._ids.new(), self._clock.wall_ms()),
        ).body


def _same_request(kept: DecisionEntry, digest: str | None) -> bytes:
    if kept.request_digest != digest:
        raise ConflictError(
            "the request_id was used for another request",
            pointer="/request_id",
            hint=f"decision {kept.entry_id} holds it; send a new request_id",
        )
    return kept.body
