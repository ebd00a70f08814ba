"""Approvals: a person's word for one exact call, as events on the record of the decision that asked for it.

    pending --approve--> approved --use--> used
       |                    |
       +--deny--> denied    +--(time)--> expired        pending --(time)--> expired

An approval is named by the decision that escalated. It binds to a `Call` (principal, action, target,
arguments, key) and to the policy it was asked under; it is given once and used once. Its events are
`override` events of `data.kind: approval`. Their ids are made from the decision's and the step's, so that
the store itself refuses a second one, and an event that a client wrote is never taken for one of ours.

Pure. After envoy ai-gateway#2073 and AGT ADR-0030: digest, policy and "not consumed" are checked in the
transaction that starts the execution; the time to use it runs from the approval, not from the question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

import orjson

from gateway.kernel.canon import canonical_bytes, sha256_digest
from gateway.kernel.ids import RANDOM_BYTES, ULID_CHARS, ulid
from gateway.kernel.types import JSONObject, Tenant
from gateway.records.types import EventEntry

KIND: Final = "approval"
"""`data.kind` of the override events; clients cannot append it."""
_TIME_CHARS: Final = 10
"""Of a ULID, before its randomness."""


class ApprovalState(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"


class Step(StrEnum):
    """What can happen to an approval, each at most once."""

    OPENED = "opened"
    RESOLVED = "resolved"
    USED = "used"


@dataclass(frozen=True)
class Call:
    """One call of one principal, as exactly as an approval binds to it."""

    tenant: Tenant
    principal: str
    """The name of the key that asks."""
    action_type: str
    target: str
    """Where it would go, as the configuration has it: another target is another call."""
    arguments_digest: str
    """Of the raw bytes of whatever decides what is done."""
    key: str | None = None
    """The caller's own name for the operation (its Idempotency-Key), where it gives one."""

    @cached_property
    def digest(self) -> str:
        """The digest of all of it."""
        return sha256_digest(canonical_bytes(call_json(self)))

    @cached_property
    def name(self) -> str:
        """What the approval is found by: the operation's own name, or else the exact call.

        So one who repeats an operation with other arguments finds the approval, and is told.
        """
        if self.key is None:
            return self.digest
        return sha256_digest(canonical_bytes(call_json(self) | {"arguments_digest": ""}))


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval as its events tell it; times are milliseconds since 1970."""

    approval_id: str
    """The id of the decision that asked."""
    call: Call
    policy_hash: str
    opened_ms: int
    expires_ms: int
    """Of the question while it is pending, of the permission once it is approved."""
    state: ApprovalState = ApprovalState.PENDING
    """By its events alone; `state_at` also knows the time."""
    use_ms: int = 0
    """How long it may be used once it is approved."""
    resolved_by: str | None = None
    reason: str | None = None
    resolved_ms: int | None = None
    used_by: str | None = None
    """The decision that used it."""

    def state_at(self, now_ms: int) -> ApprovalState:
        """Return the state at an instant."""
        lapses = self.state in {ApprovalState.PENDING, ApprovalState.APPROVED}
        return ApprovalState.EXPIRED if lapses and self.expires_ms <= now_ms else self.state


def step_id(approval_id: str, step: Step) -> str:
    """Return the id of an approval's event: one for each step, so that none can happen twice."""
    digest = hashlib.sha256(f"approval\x00{step}\x00{approval_id}".encode()).digest()
    return approval_id[:_TIME_CHARS] + ulid(0, digest[:RANDOM_BYTES])[_TIME_CHARS:ULID_CHARS]


def opened(call: Call, *, policy_hash: str, expires_ms: int, use_ms: int) -> JSONObject:
    """Return the data of the event that opens an approval."""
    return {
        "kind": KIND,
        "state": ApprovalState.PENDING.value,
        "call": call_json(call),
        "policy_hash": policy_hash,
        "expires_ms": expires_ms,
        "use_ms": use_ms,
    }


def resolved(*, approve: bool, by: str, reason: str, expires_ms: int) -> JSONObject:
    """Return the data of the event that approves or denies; `expires_ms` is when it ceases to hold."""
    state = ApprovalState.APPROVED if approve else ApprovalState.DENIED
    return {"kind": KIND, "state": state.value, "by": by, "reason": reason, "expires_ms": expires_ms}


def used(decision_id: str) -> JSONObject:
    """Return the data of the event that uses it."""
    return {"kind": KIND, "state": ApprovalState.USED.value, "decision_id": decision_id}


def call_json(call: Call) -> JSONObject:
    """Return a call as it stands in records."""
    return {
        "action_type": call.action_type,
        "arguments_digest": call.arguments_digest,
        "key": call.key,
        "principal": call.principal,
        "target": call.target,
        "tenant_id": call.tenant.tenant_id,
    }


def fold(approval_id: str, events: Iterable[EventEntry]) -> Approval | None:
    """Return the approval that a decision's events tell of, or None where it asked for none.

    Only events of ours count: those with the ids that the store gives out once.
    """
    ours = {event.entry_id: event for event in events}
    opening = ours.get(step_id(approval_id, Step.OPENED))
    if opening is None:
        return None
    approval = _opened(approval_id, opening)
    if (event := ours.get(step_id(approval_id, Step.RESOLVED))) is not None:
        data = _data(event)
        approval = replace(
            approval,
            state=ApprovalState(data["state"]),
            expires_ms=data["expires_ms"],
            resolved_by=data["by"],
            reason=data["reason"],
            resolved_ms=event.at_ms,
        )
    if (event := ours.get(step_id(approval_id, Step.USED))) is not None:
        approval = replace(approval, state=ApprovalState.USED, used_by=_data(event)["decision_id"])
    return approval


def _opened(approval_id: str, event: EventEntry) -> Approval:
    data = _data(event)
    call = data["call"]
    return Approval(
        approval_id=approval_id,
        call=Call(
            tenant=Tenant(call["tenant_id"]),
            principal=call["principal"],
            action_type=call["action_type"],
            target=call["target"],
            arguments_digest=call["arguments_digest"],
            key=call["key"],
        ),
        policy_hash=data["policy_hash"],
        opened_ms=event.at_ms,
        expires_ms=data["expires_ms"],
        use_ms=data["use_ms"],
    )


def _data(event: EventEntry) -> JSONObject:
    data: JSONObject = orjson.loads(event.body)["data"]
    return data
