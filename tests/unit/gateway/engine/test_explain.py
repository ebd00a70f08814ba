"""Why, in words."""

from __future__ import annotations

import orjson

from gateway.engine.evaluate import evaluate
from gateway.engine.explain import DETAILS_MAX, VALUE_CHARS_MAX, details
from gateway.engine.facts import derive
from gateway.kernel.types import Mode
from gateway.memory.types import NO_ADVICE, MemoryAdvice, MemoryHit
from gateway.policy.compile import compile_policy


def explain(
    *rules: dict, evidence: dict | None = None, advice: MemoryAdvice = NO_ADVICE, **more: object
) -> list[str]:
    """Return the lines for a request under these rules."""
    then = {"verdict": "ESCALATE", "reason_codes": ["CREDIT_SMALL"]}
    document = {
        "schema_version": "policy.v0",
        "policy_id": "p",
        "policy_version": "1",
        "defaults": {"mode": "enforce", "default_verdict": "QUERY", "default_reason_code": "CREDIT_SMALL"},
        "thresholds": {"limit": 5},
        "required_evidence": more.pop("required", {}),
        "rules": [
            {"id": f"R{number}", "stage": "ESCALATIONS", "then": then, **rule}
            for number, rule in enumerate(rules)
        ],
    }
    policy = compile_policy(orjson.dumps(document))
    request = {
        "action": {"type": "demo.act", "intent": "x", "amount": {"value": 20.5, "currency": "USD"}},
        "subject": {"type": "agent", "id": "s"},
        "evidence": evidence or {},
    }
    facts = derive(request, advice.failure_score)
    evaluation = evaluate(policy, policy.plan("demo.act"), facts)
    return details(evaluation, facts, advice, mode=more.get("mode", Mode.ENFORCE), asked=more.get("asked"))


def test_a_line_has_values_limits_and_thresholds() -> None:
    """A condition is told with the value it saw, its limit and the threshold's name."""
    conditions = {
        "amount_usd_gt": "thresholds.limit",
        "evidence.a_in": ["x", 1, True, None],
        "evidence.b_is": False,
        "evidence.c_present": False,
        "evidence.d_lte": 2.0,
    }
    line = (
        "ESCALATIONS R0 says ESCALATE (CREDIT_SMALL): amount_usd 20.5 is above 5 (limit) and "
        "evidence.a `x` is one of [`x`, 1, true, (missing)] and evidence.b is false and "
        "evidence.c is missing and evidence.d 1.5 is at most 2"
    )
    assert explain({"if": conditions}, evidence={"a": "x", "b": False, "d": 1.5}) == [line]


def test_only_the_alternatives_that_held_are_told() -> None:
    """Of `if_any` those conditions stand in the line that were true."""
    lines = explain({"if_any": [{"evidence.a_is": 1}, {"evidence.b_is": 2}]}, evidence={"b": 2})
    assert lines == ["ESCALATIONS R0 says ESCALATE (CREDIT_SMALL): evidence.b is 2"]


def test_rules_without_conditions_and_missing_evidence_are_told() -> None:
    """A rule that always matches says just that; a requirement lists what is missing."""
    assert explain({}, required={"demo.act": ["k", "l"]}) == [
        "REQUIREMENTS REQUIRED_EVIDENCE says QUERY (MISSING_EVIDENCE): missing k, l",
        "ESCALATIONS R0 says ESCALATE (CREDIT_SMALL)",
    ]


def test_faults_and_memory_and_modes_are_told() -> None:
    """What else bore on the verdict has a line of its own."""
    advice = MemoryAdvice(0.6, (MemoryHit("m", "failure", 0.6, "s"),), "memory:1:x")
    lines = explain({"if": {"evidence.a_gt": 1}}, evidence={"a": "x"}, advice=advice, mode=Mode.ADVISORY)
    assert lines[2:] == [
        "evidence.a is text, and rule R0 needs a number: this keeps the verdict from being TRUST",
        "memory holds 1 similar outcome, the nearest failure at 0.6",
        "the mode is advisory: the verdict is recorded and does not hold the action",
    ]
    assert explain({}, asked="advisory")[-1].startswith("the request asked for advisory mode")


def test_lines_and_values_are_bounded() -> None:
    """Neither many rules nor long values make an explanation long."""
    lines = explain(*[{} for _ in range(DETAILS_MAX + 30)])
    assert len(lines) == DETAILS_MAX
    long = explain({"if": {"evidence.a_ne": "x"}}, evidence={"a": "y" * 10_000})
    assert len(long[0]) < 200
    assert "y" * (VALUE_CHARS_MAX + 1) not in long[0]
