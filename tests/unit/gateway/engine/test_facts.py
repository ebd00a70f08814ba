"""The facts about a request, and what is wrong with them."""

from __future__ import annotations

from decimal import Decimal

import orjson
import pytest

from gateway.engine.facts import Facts, derive, derived_bytes, find_faults, missing_evidence, number_text
from gateway.kernel.canon import canonical_bytes
from gateway.policy.compile import compile_policy
from gateway.policy.plan import ActionPlan


def request(amount: dict | None = None, **evidence: object) -> dict:
    """Return as much of a request as facts are made of."""
    action: dict = {"type": "demo.act", "intent": "x"}
    if amount is not None:
        action["amount"] = amount
    return {"action": action, "subject": {"type": "agent", "id": "s"}, "evidence": evidence}


def plan(*conditions: dict) -> ActionPlan:
    """Return the plan of rules A, B, ... with these conditions."""
    rules = [
        {
            "id": chr(65 + number),
            "stage": "TRUST_PATHS",
            "if": item,
            "then": {"verdict": "TRUST", "reason_codes": ["CREDIT_SMALL"]},
        }
        for number, item in enumerate(conditions)
    ]
    defaults = {"mode": "enforce", "default_verdict": "QUERY", "default_reason_code": "CREDIT_SMALL"}
    head = {"schema_version": "policy.v0", "policy_id": "p", "policy_version": "1", "defaults": defaults}
    required = {"demo.act": ["k", "l"]}
    return compile_policy(orjson.dumps({**head, "required_evidence": required, "rules": rules})).plan(
        "demo.act"
    )


USD, EUR = "USD", "EUR"
AMOUNTS = [
    ({"value": 20, "currency": USD}, {}, "20"),
    ({"value": 20.50, "currency": USD}, {}, "20.5"),
    ({"value": 3, "currency": EUR}, {"fx_rate_to_usd": 0.1}, "0.3"),
    ({"value": 390.625, "currency": EUR}, {"fx_rate_to_usd": 0.0384}, "15"),
    (
        {"value": 9007199254740991, "currency": EUR},
        {"fx_rate_to_usd": 1.000000000000001},
        "9007199254741000.007199254740991",
    ),
    ({"value": 0, "currency": USD}, {}, "0"),
    ({"value": 20, "currency": EUR}, {}, None),
    ({"value": 20, "currency": "usd"}, {}, None),
    ({"value": 20}, {}, None),
    ({"currency": USD}, {}, None),
    ({}, {}, None),
    (None, {}, None),
    ({"value": -1, "currency": USD}, {}, None),
    ({"value": 20, "currency": EUR}, {"fx_rate_to_usd": 0}, None),
    ({"value": 20, "currency": EUR}, {"fx_rate_to_usd": -2}, None),
    ({"value": 20, "currency": EUR}, {"fx_rate_to_usd": "2"}, None),
    ({"value": 20, "currency": EUR}, {"fx_rate_to_usd": True}, None),
]


@pytest.mark.parametrize(("amount", "evidence", "usd"), AMOUNTS)
def test_amounts_are_exact_or_unknown(amount: dict | None, evidence: dict, usd: str | None) -> None:
    """The amount in USD is the exact decimal product, and None where it cannot be had."""
    facts = derive(request(amount, **evidence), 0.0)
    assert facts.amount_usd == (None if usd is None else Decimal(usd))
    assert orjson.loads(derived_bytes(facts))["amount_usd"] == usd


@pytest.mark.parametrize("score", [0.0, 0.35, 1.0, 0.000001])
@pytest.mark.parametrize(
    "amount", [None, {"value": 20.0, "currency": USD}, {"value": 1, "currency": 'é"\x01'}]
)
def test_derived_bytes_are_canonical(score: float, amount: dict | None) -> None:
    """The bytes that are digested are the canonical ones, also where they are written without a survey."""
    written = derived_bytes(derive(request(amount), score))
    assert canonical_bytes(orjson.loads(written)) == written
    assert orjson.loads(written)["failure_similarity_score"] == score


def test_missing_evidence_is_listed_in_order() -> None:
    """Required keys that are absent or blank are missing, in the policy's order."""
    assert missing_evidence(derive(request(), 0.0), plan({})) == ("k", "l")
    assert missing_evidence(derive(request(k=0, l=" "), 0.0), plan({})) == ("l",)


def faults(facts: Facts, *conditions: dict) -> list[str]:
    """Return the messages of the faults under these conditions."""
    return [fault.message for fault in find_faults(facts, plan(*conditions))]


def test_faults_name_field_type_rule_and_need() -> None:
    """A fault says what is there, which rule needs it and what it should be."""
    facts = derive(request(a="5", b=1.5, c=True, d={}, e="x" * 70_000, f=7), 0.0)
    assert faults(
        facts,
        {"evidence.a_gt": 1},
        {"evidence.customer_age_days_lt": 1, "evidence.c_in": ["x", 1]},
        {"evidence.d_is": False, "evidence.e_matches": "x", "evidence.f_ne": "x"},
    ) == [
        "evidence.a is text, and rule A needs a number",
        "evidence.c is true or false, and rule B needs a number or text",
        "evidence.d is a mapping, and rule C needs true or false",
        "evidence.e is text of 70000 characters, and rule C needs text of at most 65536 characters",
        "evidence.f is the number 7, and rule C needs text",
    ]


def test_a_fault_does_not_depend_on_other_conditions() -> None:
    """A wrong type is found even where another condition of the rule is false."""
    facts = derive(request(a="x", b="no"), 0.0)
    assert len(faults(facts, {"evidence.b_is": "yes", "evidence.a_gt": 1})) == 1


@pytest.mark.parametrize(("currency", "count"), [(EUR, 1), (USD, 0), (None, 0)])
def test_a_rate_is_needed_where_the_amount_is_foreign(currency: str | None, count: int) -> None:
    """A rule on the amount needs a usable rate for another currency and for no other."""
    amount = {"value": 5} if currency is None else {"value": 5, "currency": currency}
    assert len(faults(derive(request(amount, fx_rate_to_usd="x"), 0.0), {"amount_usd_gt": 1})) == count


def test_a_negative_amount_is_a_fault_whatever_the_rules_ask() -> None:
    """An amount below zero is never trusted, though the request's own check refuses it before."""
    facts = derive(request({"value": -5, "currency": USD}), 0.0)
    assert faults(facts, {}) == ["action.amount.value is negative or too finely divided"]


@pytest.mark.parametrize(
    ("value", "text"), [(5, "5"), (5.0, "5"), (-0.0, "0"), (0.35, "0.35"), (1e-7, "1e-07")]
)
def test_numbers_read_alike_after_a_replay(value: float, text: str) -> None:
    """5.0 comes back from canonical JSON as 5, so both have one text."""
    assert number_text(value) == text


@pytest.mark.parametrize("value", [10**400, -(10**5000), float("inf"), float("nan"), 1e300], ids=range(5))
def test_numbers_that_no_request_may_hold_do_not_raise(value: float) -> None:
    """A value that slipped past the reader is described, and never turned into thousands of digits."""
    assert number_text(value) == "beyond 2^53"
    facts = derive(request(a=value), 0.0)
    assert faults(facts, {"evidence.a_is": "x"})[0].startswith("evidence.a is the number beyond 2^53")
