"""Executions of actions, kept so that a repetition is answered and never executed a second time.

An execution claims its key in the commit of its decision and gives it back, with the answer, in the
commit of its outcome. So a repetition finds: nothing (it is the first), one under way (409, come again),
an answer (which it gets), or one whose outcome nobody knows (409, and a person must look).

The key is the client's `Idempotency-Key`. Without one it is made from the request itself, and counts only
for a request that says it is a retry: two equal requests may well mean two actions (design 6). Only the
digest of a key stands in the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import orjson

from gateway.kernel.bounds import EXECUTIONS_MAX
from gateway.kernel.canon import canonical_bytes, sha256_digest
from gateway.kernel.clock import Clock
from gateway.kernel.errors import (
    ConflictError,
    GatewayError,
    InFlightError,
    StoreBusyError,
    UnknownOutcomeError,
    UpstreamError,
)
from gateway.kernel.types import EVERY_TENANT, Fate, JSONObject, Tenant
from gateway.records.approvals import Call
from gateway.records.types import DecisionEntry
from gateway.store.claims import Claim, ClaimFilter, ClaimStep, Fit
from gateway.store.port import Store

SPACE: Final = "execution"
IN_FLIGHT_RETRY_S: Final = 1.0
"""Tools answer within seconds."""
_FULL_RETRY_S: Final = 60.0
NEVER_MS: Final = 1 << 52
"""An execution without a known end does not expire: 140,000 years on the wall clock."""
_TOO_MANY: Final = 429
"""The one status by which a tool surely says that it did nothing."""


class ExecutionState(StrEnum):
    """Where an execution stands."""

    RUNNING = "running"
    DONE = "done"
    SPENT = "spent"
    """Done, and the answer was too large to keep."""
    HELD = "held"
    """It was forwarded, and what came of it is not known."""


@dataclass(frozen=True, slots=True)
class Result:
    """A tool's answer as it was relayed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    decision_id: str


class Answered:
    """What an execution is told of the answer as it goes by."""

    __slots__ = ("body", "body_bytes", "body_bytes_max", "headers", "status")

    def __init__(self, body_bytes_max: int) -> None:
        self.body_bytes_max = body_bytes_max
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.body: list[bytes] = []
        self.body_bytes = 0

    def add(self, data: bytes) -> None:
        """Keep a piece, as long as the whole is within the bound."""
        self.body_bytes += len(data)
        if self.body_bytes <= self.body_bytes_max:
            self.body.append(data)
        else:
            self.body.clear()


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long an answer is kept, for the client's keys and for those made here."""

    named_ms: int
    derived_ms: int


class Execution:
    """One action about to be executed under a key."""

    __slots__ = ("_answered", "_claim", "_claimed", "_clock", "_fit", "_kept_ms", "_over")

    def __init__(
        self,
        claim: Claim,
        *,
        over: Claim | None,
        fit: Fit,
        kept_ms: int,
        answered: Answered,
        clock: Clock,
        claimed: Callable[[], None],
    ) -> None:
        """`claimed` is called when it goes: what the policy holds is no execution, and counts for nothing."""
        self._claim = claim
        self._claimed = claimed
        self._over = over
        self._fit = fit
        self._kept_ms = kept_ms
        self._answered = answered
        self._clock = clock

    def claims(self, decision_id: str, at_ms: int) -> ClaimStep:
        """Return the step that claims the key, for the commit of the decision."""
        self._claimed()
        self._claim = replace(self._claim, decision_id=decision_id, at_ms=at_ms)
        return ClaimStep(self._claim, over=self._over, fit=self._fit)

    def settles(self, fate: Fate, error: GatewayError | None, sent: bool) -> tuple[ClaimStep, ...]:
        """Return the step that ends it, for the commit of the outcome: never one that could refuse that."""
        claim, answered = self._claim, self._answered
        unsent = not sent or (isinstance(error, UpstreamError) and not error.sent)
        if unsent or answered.status == _TOO_MANY:
            return (ClaimStep(claim, over=claim, removes=True, fit=Fit.SKIPS),)
        if fate is not Fate.COMPLETE and (fate is not Fate.FAILED or error is not None):
            ended = replace(claim, state=ExecutionState.HELD.value)
        elif answered.body_bytes > answered.body_bytes_max:
            ended = replace(claim, state=ExecutionState.SPENT.value, expires_ms=self._expiry())
        else:
            ended = replace(
                claim,
                state=ExecutionState.DONE.value,
                expires_ms=self._expiry(),
                body=_encoded(answered),
            )
        return (ClaimStep(ended, over=claim, fit=Fit.SKIPS),)

    def _expiry(self) -> int:
        return self._clock.wall_ms() + self._kept_ms


class Executions:
    """Finds earlier executions, and prepares new ones."""

    def __init__(
        self, store: Store, clock: Clock, lifetimes: Lifetimes, *, held_max: int = EXECUTIONS_MAX
    ) -> None:
        self._store = store
        self._clock = clock
        self._lifetimes = lifetimes
        self._held_max = held_max
        self._held = 0
        """Claims that there may be: those counted last, and those made since."""
        self._made = 0

    async def begin(self, route: str, call: Call, answered: Answered, *, retried: bool) -> Execution | Result:
        """Return the execution to claim, or the result of an earlier one.

        `retried` says that the client told it is trying again. Raises ConflictError for a key of another
        request, InFlightError, UnknownOutcomeError, StoreBusyError at the bound, StoreUnavailableError.
        """
        name = _name(route, call)
        claim = self._blank(name, call)
        if call.key is None and not retried:
            # Nothing says that this is a repetition; a later retry finds the latest of its kind.
            return self._execution(
                claim, answered, over=None, fit=Fit.OVERRIDES, kept_ms=self._lifetimes.derived_ms
            )
        stands = await self._store.claim(call.tenant, SPACE, name)
        now_ms = self._clock.wall_ms()
        if stands is not None and stands.expires_ms > now_ms:
            return await self._repeated(stands, call)
        kept_ms = self._lifetimes.derived_ms if call.key is None else self._lifetimes.named_ms
        return self._execution(claim, answered, over=stands, fit=Fit.REFUSES, kept_ms=kept_ms)

    async def count(self) -> None:
        """Count what is held, so that the bound is the store's and not this process's."""
        before = self._made
        found = await self._store.count_claims(EVERY_TENANT, SPACE, ClaimFilter())
        self._held = found + self._made - before

    def _count_one(self) -> None:
        self._held += 1
        self._made += 1

    def _execution(
        self, claim: Claim, answered: Answered, *, over: Claim | None, fit: Fit, kept_ms: int
    ) -> Execution:
        if self._held >= self._held_max:
            raise StoreBusyError(
                f"{self._held_max} actions are kept for their repetition, and there is room for no more",
                code="IDEMPOTENCY_FULL",
                hint="try again later; `idempotency.held_max` is the bound",
                retry_after_s=_FULL_RETRY_S,
            )
        return Execution(
            claim,
            over=over,
            fit=fit,
            kept_ms=kept_ms,
            answered=answered,
            clock=self._clock,
            claimed=self._count_one,
        )

    def _blank(self, name: str, call: Call) -> Claim:
        return Claim(
            space=SPACE,
            tenant=call.tenant,
            name=name,
            owner=call.principal,
            state=ExecutionState.RUNNING.value,
            digest=call.arguments_digest,
            decision_id="",
            at_ms=0,
            expires_ms=NEVER_MS,
        )

    async def _repeated(self, stands: Claim, call: Call) -> Result:
        if stands.digest != call.arguments_digest:
            raise ConflictError(
                f"the Idempotency-Key was used for another request: {stands.digest}, "
                f"and this is {call.arguments_digest}",
                hint=f"decision {stands.decision_id} holds it; send a new key for a new operation",
            )
        if stands.state == ExecutionState.DONE:
            return _decoded(stands)
        if stands.state == ExecutionState.SPENT:
            raise ConflictError(
                f"decision {stands.decision_id} executed the action, and its answer was too large to keep",
                code="IDEMPOTENCY_SPENT",
                hint="ask the tool for its state",
            )
        if stands.state == ExecutionState.RUNNING and await is_open(
            self._store, call.tenant, stands.decision_id
        ):
            raise in_flight(stands.decision_id)
        raise UnknownOutcomeError(
            f"decision {stands.decision_id} forwarded the same action, and what came of it is not known",
            hint="ask the tool for its state; to do it in any case, send a new Idempotency-Key",
        )


async def unknown_outcomes(store: Store, *, limit: int) -> tuple[DecisionEntry, ...]:
    """Return decisions that were forwarded and whose outcome nobody knows, so that no repetition is let by.

    Newest first. Raises StoreUnavailableError.
    """
    found: list[DecisionEntry] = []
    cursor: str | None = None
    wanted = ClaimFilter((ExecutionState.HELD.value, ExecutionState.RUNNING.value))
    while len(found) < limit:
        page = await store.claims(EVERY_TENANT, SPACE, wanted, limit=limit, cursor=cursor)
        for claim in page.claims:
            decision = await store.decision(claim.tenant, claim.decision_id)
            if decision is not None and not await is_open(store, claim.tenant, claim.decision_id):
                found.append(decision)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(found[:limit])


async def is_open(store: Store, tenant: Tenant, decision_id: str) -> bool:
    """Tell whether a decision has no outcome yet: its process lives, and is still at it."""
    events = await store.events(tenant, decision_id)
    return all(event.event_type != "outcome" for event in events)


def in_flight(decision_id: str) -> InFlightError:
    """Return the error that sends a repetition away until the first is through."""
    return InFlightError(
        f"the same action is under way, by decision {decision_id}",
        hint="come again for its answer",
        retry_after_s=IN_FLIGHT_RETRY_S,
    )


def _name(route: str, call: Call) -> str:
    """Return the name of an execution's claim: from the client's key, or from the whole request."""
    what = {"key": call.key} if call.key is not None else {"arguments_digest": call.arguments_digest}
    return sha256_digest(canonical_bytes({"principal": call.principal, "route": route, **what}))


def _encoded(answered: Answered) -> bytes:
    head = orjson.dumps({"headers": answered.headers, "status": answered.status})
    return head + b"\n" + b"".join(answered.body)


def _decoded(claim: Claim) -> Result:
    head, _, body = claim.body.partition(b"\n")
    said: JSONObject = orjson.loads(head)
    headers = tuple((name, value) for name, value in said["headers"])
    return Result(said["status"], headers, body, claim.decision_id)
