"""What is legal and probably not meant."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.policy.compile import compile_policy
from gateway.policy.lint import lint_policy


def rule(rule_id: str = "A", stage: str = "TRUST_PATHS", verdict: str = "TRUST", **more: object) -> dict:
    """Return a rule."""
    return {
        "id": rule_id,
        "stage": stage,
        "then": {"verdict": verdict, "reason_codes": ["CREDIT_SMALL"]},
        **more,
    }


def findings(*rules: dict, default: str = "ESCALATE", **more: object) -> list[tuple[str, str, str]]:
    """Return severity, check and pointer of each finding."""
    document = {
        "schema_version": "policy.v0",
        "policy_id": "p",
        "policy_version": "1",
        "defaults": {"mode": "enforce", "default_verdict": default, "default_reason_code": "CREDIT_SMALL"},
        **more,
        "rules": list(rules),
    }
    found = lint_policy(compile_policy(orjson.dumps(document)))
    assert all(item.problem.line == 1 and item.problem.column > 0 for item in found)
    return [(item.severity.value, item.check, item.problem.pointer) for item in found]


def when(*names: str) -> dict:
    """Return a `when` of these names."""
    return {"action_type_in": list(names)}


R0 = "/rules/0"
CASES = {
    "nothing wrong": ([rule(**{"if": {"evidence.k_is": "x"}})], {}, []),
    "no action": ([rule(when=when())], {}, [("error", "unreachable-rule", R0)]),
    "an impossible action": ([rule(when=when("Not An Action"))], {}, [("error", "unreachable-rule", R0)]),
    "an impossible prefix": (
        [rule(when={"action_type_prefix": "Mcp."})],
        {},
        [("error", "unreachable-rule", R0)],
    ),
    "a contradiction": (
        [rule(**{"if": {"amount_usd_gt": 5, "amount_usd_lt": 5}})],
        {},
        [("error", "contradiction", R0)],
    ),
    "no alternative": ([rule(if_any=[])], {}, [("error", "contradiction", R0)]),
    "no possible alternative": (
        [rule(**{"if": {"evidence.k_is": 1}}, if_any=[{"evidence.k_is": 2}])],
        {},
        [("error", "contradiction", R0)],
    ),
    "one dead alternative": (
        [rule(**{"if": {"evidence.k_is": 1}}, if_any=[{"evidence.k_is": 2}, {"evidence.l_is": 3}])],
        {},
        [("warning", "dead-alternative", f"{R0}/if_any/0")],
    ),
    "a trust on a missing fact": (
        [rule(**{"if": {"evidence.k_present": False}})],
        {},
        [("error", "trust-on-missing", f"{R0}/if/evidence.k_present")],
    ),
    "a trust on null": (
        [rule(**{"if": {"evidence.k_is": None}})],
        {},
        [("error", "trust-on-missing", f"{R0}/if/evidence.k_is")],
    ),
    "a trust on no currency": (
        [rule(**{"if": {"amount_currency_ne": "USD"}})],
        {},
        [("error", "trust-on-missing", f"{R0}/if/amount_currency_ne")],
    ),
    "a refusal on a missing fact": (
        [rule("A", "HARD_BLOCKS", "ABSTAIN", **{"if": {"evidence.k_present": False}})],
        {},
        [],
    ),
    "a trust because evidence is missing": (
        [rule(stage="REQUIREMENTS", when=when("demo.a"))],
        {"required_evidence": {"demo.a": ["k"]}},
        [("error", "trust-on-missing", R0), ("warning", "unusual-verdict", R0)],
    ),
    "a requirement of nothing": (
        [rule("A", "REQUIREMENTS", "QUERY", when=when("demo.b"))],
        {"required_evidence": {"demo.a": ["k"]}},
        [("warning", "implied-requirement", "/required_evidence/demo.a"), ("error", "unreachable-rule", R0)],
    ),
    "a requirement of some": (
        [rule("A", "REQUIREMENTS", "QUERY", when=when("demo.a", "demo.b"))],
        {"required_evidence": {"demo.a": ["k"]}},
        [("warning", "unreachable-rule", R0)],
    ),
    "evidence for an impossible action": (
        [rule("A", "REQUIREMENTS", "QUERY")],
        {"required_evidence": {"nonsense": ["k"]}},
        [("error", "impossible-action", "/required_evidence/nonsense")],
    ),
    "an unused threshold": (
        [rule(**{"if": {"amount_usd_lt": "thresholds.used"}})],
        {"thresholds": {"used": 1, "unused": 2}},
        [("warning", "unused-threshold", "/thresholds/unused")],
    ),
    "two keys of when": (
        [rule(when={"action_type": "demo.a", "action_type_in": ["demo.b"]})],
        {},
        [("warning", "ignored-when", f"{R0}/when/action_type_in")],
    ),
    "an id of the engine": ([rule("DEFAULT")], {}, [("warning", "reserved-id", R0)]),
    "a rule that never decides": (
        [rule(when=when("demo.a")), rule("B", "ESCALATIONS", "ESCALATE")],
        {},
        [("warning", "outranked-rule", R0)],
    ),
    "a stricter rule for others": (
        [rule(when=when("demo.a")), rule("B", "ESCALATIONS", "ESCALATE", when=when("demo.b"))],
        {},
        [],
    ),
    "memory that loosens": (
        [rule(**{"if": {"evidence.failure_similarity_score_gte": 0.5}})],
        {},
        [("warning", "memory-loosens", f"{R0}/if/evidence.failure_similarity_score_gte")],
    ),
    "memory that tightens": (
        [
            rule(**{"if": {"evidence.failure_similarity_score_lt": 0.5}}),
            rule("B", "ESCALATIONS", "ESCALATE", **{"if": {"evidence.failure_similarity_score_gte": 0.5}}),
        ],
        {},
        [],
    ),
    "a pattern without ends": (
        [rule(**{"if": {"evidence.k_matches": "x"}}), rule("B", **{"if": {"evidence.k_matches": "^x$"}})],
        {},
        [("warning", "unanchored-pattern", f"{R0}/if/evidence.k_matches")],
    ),
    "two types": (
        [
            rule(when=when("demo.a"), **{"if": {"evidence.k_is": "1"}}),
            rule("B", when={"action_type_prefix": "demo."}, **{"if": {"evidence.k_gt": 1}}),
            rule("C", when=when("other.a"), **{"if": {"evidence.k_is": True}}),
        ],
        {},
        [("error", "type-clash", "/rules/1/if/evidence.k_gt")],
    ),
    "a trusting default": (
        [rule()],
        {"default": "TRUST"},
        [("warning", "trusting-default", "/defaults/default_verdict")],
    ),
    "a verdict out of place": ([rule("A", "HARD_BLOCKS", "TRUST")], {}, [("warning", "unusual-verdict", R0)]),
}


@pytest.mark.parametrize("name", CASES)
def test_findings(name: str) -> None:
    """Each mistake is found once, with its severity and place, and nothing else is."""
    rules, more, wanted = CASES[name]
    assert findings(*rules, **more) == wanted


def test_questions_that_are_never_asked() -> None:
    """A rule that is no QUERY and has questions is told so."""
    then = {
        "verdict": "TRUST",
        "reason_codes": ["CREDIT_SMALL"],
        "queries": [{"field": "evidence.k", "question": "K?"}],
    }
    assert findings({**rule(), "then": then}) == [("warning", "silent-queries", R0)]


def test_findings_stand_in_the_order_of_the_text() -> None:
    """Findings are sorted by line and column, so that a person reads the file once."""
    text = b"""
schema_version: policy.v0
policy_id: p
policy_version: "1"
defaults: {mode: enforce, default_verdict: TRUST, default_reason_code: CREDIT_SMALL}
thresholds:
  unused: 1
rules:
  - id: A
    stage: HARD_BLOCKS
    if: {evidence.k_gt: 2, evidence.k_lt: 1}
    then: {verdict: TRUST, reason_codes: [CREDIT_SMALL]}
"""
    found = lint_policy(compile_policy(text))
    assert [(item.problem.line, item.problem.column, item.check) for item in found] == [
        (5, 44, "trusting-default"),
        (7, 3, "unused-threshold"),
        (9, 5, "contradiction"),
        (9, 5, "unusual-verdict"),
    ]


@pytest.mark.parametrize("path", sorted(Path("policies").rglob("*.yml")), ids=lambda path: path.stem)
def test_built_in_policies_are_clean(path: Path) -> None:
    """No policy that the wheel carries has a finding."""
    assert lint_policy(compile_policy(path.read_bytes())) == ()
