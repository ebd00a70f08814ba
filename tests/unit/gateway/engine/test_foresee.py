"""What is foreseen holds: an action that is always refused is refused whatever its open facts become."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.engine.combine import combine
from gateway.engine.evaluate import evaluate
from gateway.engine.facts import Facts, derive
from gateway.engine.foresee import always_refused
from gateway.kernel.types import Verdict
from gateway.policy.compile import CompiledPolicy, compile_policy


def policy(rules: list[dict[str, Any]], *, default: str = "ABSTAIN", **more: Any) -> CompiledPolicy:
    """A policy of some rules."""
    defaults = {"mode": "enforce", "default_verdict": default, "default_reason_code": "TOOL_NOT_ALLOWED"}
    document = {"schema_version": "policy.v0", "policy_id": "p", "policy_version": "1", "defaults": defaults}
    return compile_policy(orjson.dumps({**document, "rules": rules, **more}))


def rule(rule_id: str, verdict: str, stage: str = "HARD_BLOCKS", **conditions: Any) -> dict[str, Any]:
    """A rule."""
    return {
        "id": rule_id,
        "stage": stage,
        **conditions,
        "then": {"verdict": verdict, "reason_codes": ["TOOL_NOT_ALLOWED"]},
    }


def facts(**evidence: Any) -> Facts:
    """The facts of an action."""
    action = {"type": "x.y", "target": {"system": "shop"}}
    return derive({"subject": {"id": "a", "type": "agent"}, "action": action, "evidence": evidence}, 0.0)


def known(*fields: str) -> Any:
    """Everything can be told but these."""
    return lambda field: field not in fields


BLOCK = rule("B", "ABSTAIN")
TRUST = rule("T", "TRUST", "TRUST_PATHS")


@pytest.mark.parametrize(
    ("rules", "default", "refused"),
    [
        ([BLOCK, TRUST], "TRUST", True),
        ([rule("B", "ABSTAIN", when={"action_type": "z.z"}), TRUST], "ABSTAIN", False),
        ([rule("B", "ABSTAIN", **{"if": {"evidence.open_is": 1}}), TRUST], "TRUST", False),
        ([rule("B", "ABSTAIN", **{"if": {"action.target.system_is": "shop"}}), TRUST], "TRUST", True),
        ([rule("B", "ABSTAIN", **{"if": {"action.target.system_is": "bank"}}), TRUST], "TRUST", False),
        ([rule("B", "ABSTAIN", **{"if": {"evidence.never_present": False}}), TRUST], "TRUST", True),
        ([rule("T", "TRUST", "TRUST_PATHS", **{"if": {"evidence.never_is": "x"}})], "ABSTAIN", True),
        ([rule("T", "TRUST", "TRUST_PATHS", **{"if": {"evidence.never_is": "x"}})], "ESCALATE", False),
        ([rule("T", "TRUST", "TRUST_PATHS", **{"if": {"evidence.open_is": "x"}})], "ABSTAIN", False),
        ([rule("E", "ESCALATE", "ESCALATIONS", **{"if": {"evidence.open_present": True}})], "ABSTAIN", False),
        (
            [rule("B", "ABSTAIN", if_any=[{"evidence.open_is": 1}, {"subject.id_is": "a"}]), TRUST],
            "TRUST",
            True,
        ),
        (
            [rule("B", "ABSTAIN", if_all=[{"evidence.open_is": 1}, {"subject.id_is": "a"}]), TRUST],
            "TRUST",
            False,
        ),
        ([rule("B", "ABSTAIN", if_all=[{"evidence.open_is": 1}, {"subject.id_is": "b"}])], "ABSTAIN", False),
    ],
)
def test_three_values(rules: list[dict[str, Any]], default: str, refused: bool) -> None:
    """A rule that is sure to match decides, one that may leaves it open, one that cannot does nothing."""
    compiled = policy(rules, default=default)
    assert always_refused(compiled, facts(), known("evidence.open")) is refused


def test_what_may_escalate_by_itself_is_left_open() -> None:
    """Evidence of a wrong type, an amount and memory escalate without a rule that says so."""
    for condition in (
        {"evidence.open_gt": 5},
        {"amount_usd_gt": 5},
        {"evidence.failure_similarity_score_gt": 0.5},
    ):
        compiled = policy([rule("B", "ABSTAIN", **{"if": condition})])
        fields = ("evidence.open", "amount_usd", "evidence.failure_similarity_score")
        assert not always_refused(compiled, facts(), known(*fields))


def test_missing_evidence_is_a_question_and_no_refusal() -> None:
    """Who is asked may answer."""
    asks = rule("Q", "QUERY", "REQUIREMENTS")
    compiled = policy([asks], required_evidence={"x.y": ["open"]})
    assert not always_refused(compiled, facts(), known("evidence.open"))


values = st.sampled_from([1, 2, "x", True])
conditions = st.dictionaries(
    st.sampled_from(["evidence.a_is", "evidence.b_is", "evidence.b_present", "subject.id_is"]),
    values,
    max_size=2,
).map(
    lambda found: {
        k: (v is True if k.endswith("present") else "a" if k == "subject.id_is" else v)
        for k, v in found.items()
    }
)
rules_of = st.lists(
    st.tuples(
        st.sampled_from(list(Verdict)),
        st.sampled_from(["REQUIREMENTS", "HARD_BLOCKS", "ESCALATIONS", "TRUST_PATHS"]),
        st.lists(conditions.filter(bool), max_size=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


@given(
    rules_of,
    st.sampled_from(list(Verdict)),
    st.dictionaries(st.just("a"), values),
    st.dictionaries(st.just("b"), values),
)
@settings(derandomize=True, max_examples=400, deadline=None)
def test_what_is_foreseen_comes_true(
    drawn: list[Any], default: Verdict, given_now: dict[str, Any], given_later: dict[str, Any]
) -> None:
    """Where it says that an action is always refused, no evidence that comes later gets another verdict."""
    rules = [
        rule(f"R{at}", verdict.value, stage, **({("if_any" if some else "if_all"): blocks} if blocks else {}))
        for at, (verdict, stage, blocks, some) in enumerate(drawn)
    ]
    compiled = policy(rules, default=default.value)
    if always_refused(compiled, facts(**given_now), known("evidence.b")):
        later = facts(**given_now, **given_later)
        verdict = combine(evaluate(compiled, compiled.plan("x.y"), later).matched).verdict
        assert verdict is Verdict.ABSTAIN
