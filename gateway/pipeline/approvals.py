"""Approvals as a service: opened with the decision that escalates, found again, used with the one that acts.

Whoever decides an action asks `standing` before, and `rule` once the verdict is ESCALATE. The ruling's
events and steps go into the very commit of the new decision, so that an approval is opened with its record
and used in the transaction that starts the execution: of two that use one, the store refuses one.

What stands is told by the events on the record; the claim beside the ledger only finds them and orders who
comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from gateway.kernel.clock import Clock
from gateway.kernel.errors import (
    ApprovalError,
    ClaimTakenError,
    ConflictError,
    DeniedError,
    GatewayError,
    NotFoundError,
    PendingError,
)
from gateway.kernel.ids import is_ulid
from gateway.kernel.types import EVERY_TENANT, JSONObject, Tenant
from gateway.pipeline.journal import event_entry
from gateway.records.approvals import (
    Approval,
    ApprovalState,
    Call,
    Step,
    fold,
    opened,
    resolved,
    step_id,
    used,
)
from gateway.records.types import EventEntry
from gateway.store.claims import Claim, ClaimFilter, ClaimStep
from gateway.store.port import Store

SPACE: Final = "approval"
"""Of the claims that find approvals."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a question may wait for its answer, and an approval for its use."""

    ask_ms: int
    use_ms: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a call before it is decided."""

    call: Call
    named: str | None = None
    """The approval that the caller names."""
    approval: Approval | None = None
    claim: Claim | None = None
    """What stands under the call's name."""


class Answer(Enum):
    """What an ESCALATE comes to."""

    OPENED = auto()
    """A person is asked: a new approval, pending."""
    WAITS = auto()
    """The person has been asked already."""
    GOES = auto()
    """Approved: this decision uses it."""
    REFUSED = auto()
    """Denied, used, expired, or not for this call."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What an ESCALATE comes to, and what must be committed with its decision."""

    answer: Answer
    approval_id: str | None
    extension: JSONObject
    """What stands under `extensions.approval` of the record."""
    events: tuple[EventEntry, ...] = ()
    steps: tuple[ClaimStep, ...] = ()
    error: GatewayError | None = None
    """What the caller is told, unless it goes: PendingError (202) or why it is refused."""


class Approvals:
    """Finds, opens, uses and resolves approvals."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def standing(self, call: Call, *, named: str | None = None) -> Standing:
        """Return what stands for a call. `named` is the approval that the caller names, if it does.

        Raises StoreUnavailableError.
        """
        claim = await self._store.claim(call.tenant, SPACE, call.name)
        wanted = named if named is not None else None if claim is None else claim.decision_id
        approval = None if wanted is None else await self._read(call.tenant, wanted)
        if approval is not None and approval.call.principal != call.principal:
            # Another's: as if it were not there.
            approval = None
        return Standing(call, named, approval, claim)

    async def _read(self, scope: Tenant, approval_id: str) -> Approval | None:
        if not is_ulid(approval_id):
            return None
        return fold(approval_id, await self._store.events(scope, approval_id))

    async def show(self, scope: Tenant, principal: str, approval_id: str) -> Approval:
        """Return a principal's own approval. Raises NotFoundError, also where it is another's."""
        approval = await self._read(scope, approval_id)
        if approval is None or approval.call.principal != principal:
            raise _unknown()
        return approval

    async def find(self, approval_id: str) -> Approval:
        """Return any tenant's approval, for the operator. Raises NotFoundError."""
        events = await self._store.events(EVERY_TENANT, approval_id) if is_ulid(approval_id) else ()
        approval = fold(approval_id, events)
        if approval is None:
            raise _unknown()
        return approval

    async def page(
        self, state: ApprovalState | None, *, owner: str | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Approval], str | None]:
        """Return a page of the newest approval of each call, newest first, and the next page's cursor.

        Those that another approval of the same call has followed are not listed, and shown by their id.
        """
        wanted = _filter(state, owner, self._clock.wall_ms())
        found = await self._store.claims(EVERY_TENANT, SPACE, wanted, limit=limit, cursor=cursor)
        return [await self.find(claim.decision_id) for claim in found.claims], found.next_cursor

    async def resolve(self, approval_id: str, *, approve: bool, by: str, reason: str) -> Approval:
        """Approve or deny a pending approval; return it as it stands once that is durable.

        Raises NotFoundError, and ApprovalError where it is not pending any more.
        """
        approval = await self.find(approval_id)
        now_ms = self._clock.wall_ms()
        if (state := approval.state_at(now_ms)) is not ApprovalState.PENDING:
            raise _not_pending(approval, state)
        expires_ms = now_ms + approval.use_ms
        data = resolved(approve=approve, by=by, reason=reason, expires_ms=expires_ms)
        now = ApprovalState(data["state"])
        step = ClaimStep(
            _claim(approval, now, now_ms, expires_ms),
            over=_claim(approval, state, approval.opened_ms, approval.expires_ms),
        )
        event = _event(approval.approval_id, Step.RESOLVED, approval.call, now_ms, data)
        try:
            await self._store.submit((event,), steps=(step,))
        except ConflictError:
            # Another operator was faster, or the question was followed by a new one.
            approval = await self.find(approval_id)
            raise _not_pending(approval, approval.state_at(now_ms)) from None
        return await self.find(approval_id)


def rule(standing: Standing, *, decision_id: str, policy_hash: str, at_ms: int, terms: Terms) -> Ruling:
    """Return what a decision comes to that says ESCALATE, under what stands for its call."""
    approval = standing.approval
    if approval is None and standing.named is None:
        return _open(standing, decision_id, policy_hash, at_ms, terms)
    if approval is None:
        return _refused(None, standing, _unknown(code="APPROVAL_UNKNOWN"))
    state = approval.state_at(at_ms)
    refusal: GatewayError | None = _mismatch(approval.call, standing.call)
    if refusal is None and state is ApprovalState.PENDING:
        extension = {"approval_id": approval.approval_id, "state": state.value}
        return Ruling(Answer.WAITS, approval.approval_id, extension, error=_pending(approval))
    if refusal is None and state is ApprovalState.APPROVED and approval.policy_hash == policy_hash:
        return _use(approval, decision_id, at_ms)
    outdated = refusal is None and state is ApprovalState.APPROVED
    refusal = refusal or _refusal(approval, state, policy_hash)
    if standing.named is None and (outdated or approval.expires_ms <= at_ms):
        # What the old approval said does not hold any more: a person is asked anew, and told why.
        return _open(standing, decision_id, policy_hash, at_ms, terms, follows=refusal.code)
    return _refused(approval, standing, refusal)


def overtaken(standing: Standing, clash: ClaimTakenError) -> Ruling:
    """Return what a decision comes to whose approval another used, or opened, between look and commit."""
    holder = clash.decision_id or (None if standing.claim is None else standing.claim.decision_id)
    if clash.state == ApprovalState.PENDING:
        extension = {"approval_id": holder, "state": clash.state}
        return Ruling(Answer.WAITS, holder, extension, error=PendingError(holder or ""))
    error = ApprovalError(
        "another request used this approval at the same time",
        code="APPROVAL_USED",
        hint="an approval is used once; look at the decision that used it",
    )
    return _refused(standing.approval, standing, error)


def _open(
    standing: Standing,
    decision_id: str,
    policy_hash: str,
    at_ms: int,
    terms: Terms,
    *,
    follows: str | None = None,
) -> Ruling:
    call, expires_ms = standing.call, at_ms + terms.ask_ms
    approval = Approval(decision_id, call, policy_hash, at_ms, expires_ms, use_ms=terms.use_ms)
    data = opened(call, policy_hash=policy_hash, expires_ms=expires_ms, use_ms=terms.use_ms)
    extension: JSONObject = {"approval_id": decision_id, "state": ApprovalState.PENDING.value}
    if follows is not None and standing.approval is not None:
        extension["follows"] = {"approval_id": standing.approval.approval_id, "reason": follows}
    return Ruling(
        Answer.OPENED,
        decision_id,
        extension,
        events=(_event(decision_id, Step.OPENED, call, at_ms, data),),
        steps=(ClaimStep(_claim(approval, ApprovalState.PENDING, at_ms, expires_ms), over=standing.claim),),
        error=_pending(approval, follows=follows),
    )


def _use(approval: Approval, decision_id: str, at_ms: int) -> Ruling:
    # It stays until the permission would have lapsed, so that a late repetition is told that it was used.
    now = _claim(approval, ApprovalState.USED, at_ms, approval.expires_ms)
    return Ruling(
        Answer.GOES,
        approval.approval_id,
        {
            "approval_id": approval.approval_id,
            "state": ApprovalState.USED.value,
            "approved_by": approval.resolved_by,
            "call_digest": approval.call.digest,
        },
        events=(_event(approval.approval_id, Step.USED, approval.call, at_ms, used(decision_id)),),
        steps=(ClaimStep(now, over=_claim(approval, ApprovalState.APPROVED, at_ms, approval.expires_ms)),),
    )


def _refused(approval: Approval | None, standing: Standing, error: GatewayError) -> Ruling:
    approval_id = standing.named if approval is None else approval.approval_id
    extension: JSONObject = {
        "approval_id": approval_id if approval_id is None or is_ulid(approval_id) else None,
        "refused": error.code,
        "arguments_digest": standing.call.arguments_digest,
    }
    if approval is not None:
        extension["approved_arguments_digest"] = approval.call.arguments_digest
    return Ruling(Answer.REFUSED, approval_id, extension, error=error)


def _mismatch(bound: Call, call: Call) -> ApprovalError | None:
    """Return why a call is not the one that an approval was asked for; both digests are named."""
    if bound == call:
        return None
    if bound.arguments_digest != call.arguments_digest:
        what, was, is_now = "arguments", bound.arguments_digest, call.arguments_digest
    else:
        what, was, is_now = "call", bound.digest, call.digest
    return ApprovalError(
        f"the approval was asked for another {what}: {was}, and this is {is_now}",
        code="APPROVAL_MISMATCH",
        hint="repeat the very same request, or ask for this one by itself",
    )


def _refusal(approval: Approval, state: ApprovalState, policy_hash: str) -> GatewayError:
    """Return why an approval that is not pending does not let this call through."""
    if state is ApprovalState.DENIED:
        reason = f": {approval.reason}" if approval.reason else ""
        return DeniedError(
            f"the request was denied{reason}", hint=f"approval {approval.approval_id} holds the denial"
        )
    if state is ApprovalState.USED:
        return ApprovalError(
            f"this approval was used by decision {approval.used_by}",
            code="APPROVAL_USED",
            hint="it was executed once; to do it once more, send another Idempotency-Key and ask again",
        )
    if state is ApprovalState.EXPIRED:
        return ApprovalError(
            "the approval has expired",
            code="APPROVAL_EXPIRED",
            hint="repeat the request without naming it to ask again",
        )
    return ApprovalError(
        f"the policy changed since this was approved: it was {approval.policy_hash}, now it is {policy_hash}",
        code="APPROVAL_POLICY_CHANGED",
        hint="repeat the request without naming the approval to ask again",
    )


def _pending(approval: Approval, *, follows: str | None = None) -> PendingError:
    return PendingError(approval.approval_id, expires_ms=approval.expires_ms, follows=follows)


def _not_pending(approval: Approval, state: ApprovalState) -> ApprovalError:
    who = f" by {approval.resolved_by}" if approval.resolved_by else ""
    return ApprovalError(
        f"approval {approval.approval_id} is not pending: it is {state.value}{who}",
        code="APPROVAL_NOT_PENDING",
        hint="an approval is given or denied once",
    )


def _unknown(*, code: str | None = None) -> NotFoundError:
    return NotFoundError("there is no such approval", code=code, hint="it may be another key's")


def _claim(approval: Approval, state: ApprovalState, at_ms: int, expires_ms: int) -> Claim:
    call = approval.call
    return Claim(
        space=SPACE,
        tenant=call.tenant,
        name=call.name,
        owner=call.principal,
        state=state.value,
        digest=call.digest,
        decision_id=approval.approval_id,
        at_ms=at_ms,
        expires_ms=expires_ms,
    )


def _event(approval_id: str, step: Step, call: Call, at_ms: int, data: JSONObject) -> EventEntry:
    return event_entry(
        event_id=step_id(approval_id, step),
        decision_id=approval_id,
        tenant=call.tenant,
        at_ms=at_ms,
        event_type="override",
        data=data,
    )


def _filter(state: ApprovalState | None, owner: str | None, now_ms: int) -> ClaimFilter:
    if state is None:
        return ClaimFilter(owner=owner)
    if state is ApprovalState.EXPIRED:
        lapsing = (ApprovalState.PENDING.value, ApprovalState.APPROVED.value)
        return ClaimFilter(lapsing, owner, expired_ms=now_ms)
    lapses = state in {ApprovalState.PENDING, ApprovalState.APPROVED}
    return ClaimFilter((state.value,), owner, alive_ms=now_ms if lapses else None)
