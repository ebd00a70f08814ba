"""Approvals as people and programs read and answer them: the same on `/v0`, `/admin` and the command line."""

from __future__ import annotations

import orjson

from gateway.kernel.bounds import REASON_CHARS_MAX
from gateway.kernel.clock import rfc3339
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import JSONObject
from gateway.records.approvals import Approval, ApprovalState, call_json
from gateway.store.port import Store


def approval_json(approval: Approval, now_ms: int) -> JSONObject:
    """Return an approval as it stands at an instant: what it is for, by whom, and until when."""
    shown: JSONObject = {
        "approval_id": approval.approval_id,
        "state": approval.state_at(now_ms).value,
        "call": call_json(approval.call),
        "call_digest": approval.call.digest,
        "policy_hash": approval.policy_hash,
        "asked_at": rfc3339(approval.opened_ms),
        "expires_at": rfc3339(approval.expires_ms),
    }
    if approval.resolved_ms is not None:
        shown |= {
            "resolved_at": rfc3339(approval.resolved_ms),
            "resolved_by": approval.resolved_by,
            "reason": approval.reason,
        }
    if approval.state is ApprovalState.USED:
        shown["used_by"] = approval.used_by
    return shown


async def with_request(store: Store, approval: Approval, now_ms: int) -> JSONObject:
    """Return an approval with what it was asked for, as whoever answers needs to see it."""
    shown = approval_json(approval, now_ms)
    kept = await store.decision(approval.call.tenant, approval.approval_id)
    if kept is not None:
        record = orjson.loads(kept.body)
        shown |= {
            "reason_codes": list(kept.reason_codes),
            "action": record["request"]["action"],
            "subject": record["request"]["subject"],
            "evidence": record["request"].get("evidence", {}),
        }
    return shown


def read_state(text: str | None) -> ApprovalState | None:
    """Return the state that a text names. Raises InvalidRequestError."""
    if text is None:
        return None
    try:
        return ApprovalState(text)
    except ValueError:
        known = ", ".join(state.value for state in ApprovalState)
        raise InvalidRequestError("unknown state", hint=f"use one of {known}") from None


def check_reason(reason: object) -> str:
    """Return a reason that may stand in a record. Raises InvalidRequestError."""
    text = reason.strip() if isinstance(reason, str) else ""
    printable = all(char.isprintable() or char == "\n" for char in text)
    if not text or len(text) > REASON_CHARS_MAX or not printable:
        raise InvalidRequestError(
            f"`reason` must be a text of 1 to {REASON_CHARS_MAX} characters",
            pointer="/reason",
            hint="say in a sentence why: it stands in the record",
        )
    return text
