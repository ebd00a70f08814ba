"""Refunds that the support policy trusts while nothing speaks against them."""

from __future__ import annotations

from typing import Any

ZEROS = "sha256:" + "0" * 64


def refund(
    value: float = 20,
    *,
    tenant: str | None = "acme",
    tags: tuple[str, ...] = ("duplicate_charge",),
    **members: Any,
) -> dict[str, Any]:
    """Return a refund of `value` USD; `members` are further members of the request."""
    subject: dict[str, Any] = {"type": "agent", "id": "support-bot"}
    if tenant is not None:
        subject["tenant_id"] = tenant
    return {
        "schema_version": "decision_request.v0",
        "subject": subject,
        "action": {
            "type": "support.refund",
            "intent": "refund a double charge",
            "amount": {"value": value, "currency": "USD"},
            "tags": list(tags),
        },
        "evidence": {
            "ticket_id": "T-1",
            "order_id": "O-1",
            "customer_id": "C-1",
            "payment_instrument_risk": "low",
            "chargeback_risk": 0.05,
            "previous_refund_count_90d": 0,
            "customer_age_days": 400,
        },
        "context": {"mode": "digest_only", "digest": ZEROS},
    } | members
