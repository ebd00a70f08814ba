"""What a request says, in the form that conditions read: derived once, exact, and never guessed.

A fact that cannot be had (no currency, no rate, a negative amount) is None; why is a fault, and a
fault keeps a verdict from being TRUST. Nothing here may ever raise on a validated request.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import orjson

from gateway.kernel.amounts import amount_of, amount_usd, decimal_of, decimal_text
from gateway.kernel.bounds import WHOLE_MAX
from gateway.kernel.canon import canonical_bytes, whole
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.types import JSON, JSONObject
from gateway.policy.conditions import RATE_FIELD
from gateway.policy.operators import MATCHED_CHARS_MAX, is_missing
from gateway.policy.plan import ActionPlan, Need
from gateway.policy.shape import kind

AMOUNT_FIELD: Final = "action.amount.value"
_EMPTY: Final[JSONObject] = {}


@hot_dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one request; satisfies `policy.conditions.FactView`."""

    action_type: str
    evidence: JSONObject
    target: JSONObject
    subject: JSONObject
    tags: list[JSON]
    roles: list[JSON]
    amount_value: JSON
    """As sent, sign and all; None where it is missing."""
    amount_currency: str | None
    amount_usd: Decimal | None
    """None where the value, the currency or a usable rate is missing, or the value is no amount."""
    fx_rate_present: bool
    """True for a number above 0: a rate of 0 would make any amount small."""
    failure_score: float
    """From experience memory; what the caller sends under this name is ignored."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fact that a rule needs and cannot use."""

    field: str
    message: str


def derive(request: JSONObject, failure_score: float) -> Facts:
    """Return the facts of a validated request."""
    action: JSONObject = request["action"]
    subject: JSONObject = request["subject"]
    evidence: JSONObject = request.get("evidence") or _EMPTY
    amount: JSONObject | None = action.get("amount")
    rate = evidence.get("fx_rate_to_usd")
    # amount_of(rate) is None or zero for what is no rate, and neither may make an amount small.
    rate_usable = rate is not None and bool(amount_of(rate))
    value: JSON = None
    currency: str | None = None
    dollars: Decimal | None = None
    if amount:
        value, currency = amount.get("value"), amount.get("currency")
        dollars = amount_usd(value, currency, rate if rate_usable else None)
    return Facts(
        action_type=action["type"],
        evidence=evidence,
        target=action.get("target") or _EMPTY,
        subject=subject,
        tags=action.get("tags") or [],
        roles=subject.get("roles") or [],
        amount_value=value,
        amount_currency=currency,
        amount_usd=dollars,
        fx_rate_present=rate_usable,
        failure_score=float(failure_score),
    )


def derived_bytes(facts: Facts) -> bytes:
    """Return the canonical bytes of what `inputs_digest` covers besides the request and the snapshot.

    Amounts are decimal text.
    """
    value, dollars = decimal_of(facts.amount_value), facts.amount_usd
    features = {
        "action_type": facts.action_type,
        "amount_currency": facts.amount_currency,
        "amount_usd": None if dollars is None else decimal_text(dollars),
        "amount_value": None if value is None else decimal_text(value),
        "failure_similarity_score": whole(facts.failure_score),
        "fx_rate_to_usd_present": facts.fx_rate_present,
    }
    # In order already, and without a fraction there is nothing that orjson would spell otherwise.
    return canonical_bytes(features) if facts.failure_score else orjson.dumps(features)


def missing_evidence(facts: Facts, plan: ActionPlan) -> tuple[str, ...]:
    """Return the required evidence keys that are missing, in the policy's order."""
    evidence = facts.evidence
    return tuple([key for key in plan.required if is_missing(evidence.get(key))])


def find_faults(facts: Facts, plan: ActionPlan) -> tuple[Fault, ...]:
    """Return every fact that the plan's rules need and cannot use, in the order of the rules.

    The order in which conditions are tested does not matter to it: a wrong type is a fault even where
    another condition of the same rule is false.
    """
    evidence = facts.evidence
    faults: list[Fault] = []
    if facts.amount_value is not None and amount_of(facts.amount_value) is None:
        faults.append(Fault(AMOUNT_FIELD, f"{AMOUNT_FIELD} is negative or too finely divided"))
    if plan.amount_rule is not None and facts.amount_currency not in {None, "USD"}:
        rate = evidence.get("fx_rate_to_usd")
        if rate is not None and not facts.fx_rate_present:
            faults.append(_fault(RATE_FIELD, rate, "a number above 0", plan.amount_rule))
    for need in plan.needs:
        value = evidence.get(need.key)
        if value is not None and (
            value.__class__ not in need.classes or (need.accepts is not None and not need.accepts(value))
        ):
            faults.append(_need_fault(need, value))
    return tuple(faults)


def _is_number(value: JSON) -> bool:
    return value.__class__ is float or value.__class__ is int


def _need_fault(need: Need, value: JSON) -> Fault:
    return _fault(f"evidence.{need.key}", value, need.wanted, need.rule_id)


def _fault(field: str, value: JSON, wanted: str, rule_id: str) -> Fault:
    return Fault(field, f"{field} is {_described(value)}, and rule {rule_id} needs {wanted}")


def _described(value: JSON) -> str:
    if _is_number(value):
        return f"the number {number_text(value)}"
    if value.__class__ is str and len(value) > MATCHED_CHARS_MAX:
        return f"text of {len(value)} characters"
    return kind(value)


def number_text(value: float) -> str:
    """Return a number as people write it; the same for 5 and 5.0, as canonical JSON has one 5."""
    # No request may hold such a number, and turning it to text could raise; NaN fails the comparison.
    if not abs(value) <= WHOLE_MAX:
        return "beyond 2^53"
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)
