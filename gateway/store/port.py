"""The promises of a store, whatever database is behind it.

* What `submit` returned a receipt for is on stable storage and survives a kill of the process at
  any instant; before that nothing is promised, and nobody is told otherwise.
* `submit` enqueues at once or raises: a caller that is cancelled while it waits loses nothing.
* Entries are never changed or removed. Every read is scoped to a tenant, or to `EVERY_TENANT`,
  which only admin and the command line hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.kernel.hot import hot_dataclass
from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.records.proof import Proof
from gateway.records.types import (
    ControlEntry,
    DecisionEntry,
    Entry,
    EventEntry,
    MemoryEntry,
    PolicyEntry,
)
from gateway.store.claims import Claim, ClaimFilter, ClaimPage, ClaimStep

MEMORY_ITEMS_MAX: Final = 10_000
"""Memory items in one read: some 5 MB."""
CONTROL_RECORDS_MAX: Final = 1_000
"""Control records in one read: an option table has some 2 kB, an epoch with its intents some 20."""


@hot_dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a group of entries is durable: who wrote them, and the sequence of the first and last."""

    writer: str
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """What a listing is narrowed to; None means any. Times are milliseconds, `until_ms` exclusive."""

    verdict: str | None = None
    action_type: str | None = None
    model: str | None = None
    reason_code: str | None = None
    correlation_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Decisions, newest first, and the cursor of the next page.

    Only a cursor of None is the end: a page under a filter examines a bounded number of decisions, so that
    it may hold fewer than were asked for, or none, and yet have a next one.
    """

    decisions: tuple[DecisionEntry, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ControlFilter:
    """What a read of control records is narrowed to; None means any. Times as in `DecisionFilter`.

    `writer` is one process's chain: what one controller did, in its order.
    """

    control_type: str | None = None
    writer: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """A control record and its place: `position` goes on a read, `writer` and `seq` name it in its chain."""

    position: int
    writer: str
    seq: int
    entry: ControlEntry


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """What readiness and metrics say. `reason` is one line for people, empty while `ready`."""

    ready: bool
    reason: str
    queued: int
    committed: int
    """Entries committed since the store was opened."""
    last_commit_s: float
    """How long the last commit took."""
    fatal: bool = False
    """True where this process will never write again (a flush failed): it should leave, not wait."""


class Store(Protocol):
    """See the module's docstring. All waiting methods may raise `StoreUnavailableError`."""

    def submit(
        self, entries: Sequence[Entry], *, reserved: bool = False, steps: Sequence[ClaimStep] = ()
    ) -> asyncio.Future[Receipt]:
        """Enqueue entries that are committed together or not at all, in this order.

        `steps` are carried out in the same transaction; where one does not fit, nothing of this group is
        stored and the future raises `ClaimTakenError`.

        `reserved` entries end what was admitted before (outcomes): they pass the bound of the queue,
        because there are never more of them than admitted decisions, and refusing them would lose a fate.
        Nobody need wait for them: a future that fails unheard complains to nobody.
        They outlive an outage: those of a batch that failed, and those that come while the store is down,
        are committed when it is back, up to the bound of the queue. Where the failure is final they are
        refused as everything is, and the next start marks their decisions unknown.

        Raises `StoreBusyError` when the queue is full, `StoreUnavailableError` when the store has failed
        and `InvalidRequestError` for what no database could hold, all at once. The future raises
        `StoreUnavailableError` where the commit failed, and `DuplicateKeyError` where a DecisionEntry's
        `(tenant, request_key)` is taken: then nothing of this group was stored, and the others of its
        batch are not touched. Cancelling the future does not cancel the write.
        """
        ...

    async def decision(self, scope: Scope, decision_id: str) -> DecisionEntry | None:
        """Return one decision, or None if this scope has none of that id."""
        ...

    async def decision_by_key(self, tenant: Tenant, request_key: str) -> DecisionEntry | None:
        """Return the decision that holds an idempotency key of this tenant."""
        ...

    async def events(self, scope: Scope, decision_id: str) -> tuple[EventEntry, ...]:
        """Return the events of a decision, oldest first."""
        ...

    async def decisions(
        self, scope: Scope, wanted: DecisionFilter, *, limit: int, cursor: str | None
    ) -> Page:
        """Return a page of decisions, newest first. A cursor that is none of ours: InvalidRequestError."""
        ...

    async def memory(self, scope: Scope, *, after: int, limit: int) -> tuple[tuple[int, MemoryEntry], ...]:
        """Return memory items in the order of their commit, each with its position, from `after` on."""
        ...

    async def control(
        self, scope: EveryTenant, wanted: ControlFilter, *, after: int, limit: int
    ) -> tuple[ControlRecord, ...]:
        """Return control records in the order of their positions, from after one on; none means the end.

        Those of one writer come in the order of their sequence. Control records are the operator's, so
        that no tenant can ask. `limit` is cut to 1..CONTROL_RECORDS_MAX.
        """
        ...

    async def policy(self, policy_hash: str) -> PolicyEntry | None:
        """Return a policy that decided, by its hash."""
        ...

    async def proof(self, entry_id: str) -> Proof | None:
        """Return an entry's place in the ledger, or None where it is not known."""
        ...

    async def claim(self, tenant: Tenant, space: str, name: str) -> Claim | None:
        """Return what stands under a name, whether or not it has expired."""
        ...

    async def claims(
        self, scope: Scope, space: str, wanted: ClaimFilter, *, limit: int, cursor: str | None
    ) -> ClaimPage:
        """Return a page of claims, newest decision first. A cursor that is none of ours: InvalidRequestError.

        `limit` is cut to 1..PAGE_DECISIONS_MAX.
        """
        ...

    async def dangling(self, *, limit: int) -> tuple[DecisionEntry, ...]:
        """Return decisions that await an outcome and have none, oldest first."""
        ...

    async def mark_unknown(self) -> int:
        """Give every decision that a dead writer left open its one outcome, `unknown`; return how many.

        Called once, at start. What living writers have open is not touched.
        """
        ...

    def health(self) -> StoreHealth:
        """Tell the truth, at once."""
        ...

    async def close(self) -> None:
        """Commit what is queued, then close. Safe to call twice."""
        ...
