"""The typed shape of a policy."""

from __future__ import annotations

import orjson
import pytest

from gateway.kernel.types import Mode, Stage, Verdict
from gateway.policy.document import read_document
from gateway.policy.shape import kind, read_shape

POLICY = {
    "schema_version": "policy.v0",
    "policy_id": "p",
    "policy_version": "1",
    "defaults": {"mode": "advisory", "default_verdict": "QUERY", "default_reason_code": "CREDIT_SMALL"},
    "thresholds": {"limit": 5},
    "required_evidence": {"demo.act": ["a", "b"]},
    "rules": [
        {
            "id": "A",
            "stage": "ESCALATIONS",
            "when": {"action_type": "demo.act"},
            "if": {"evidence.k_is": 1},
            "if_all": [{}, {"evidence.l_is": 2}],
            "if_any": [{"evidence.m_is": 3}],
            "then": {
                "verdict": "ESCALATE",
                "reason_codes": ["CREDIT_SMALL"],
                "queries": [{"field": "evidence.k", "question": "K?"}],
                "obligations": [{"type": "check"}],
            },
        }
    ],
    "extensions": {"reason_codes": [{"code": "MINE", "description": "mine"}], "other": 1},
}


def test_a_right_policy_has_its_parts_and_no_problems() -> None:
    """Every part of a policy arrives with its type."""
    shape, problems = read_shape(read_document(orjson.dumps(POLICY)))
    assert problems == []
    assert (shape.policy_id, shape.policy_version, shape.mode) == ("p", "1", Mode.ADVISORY)
    assert shape.default_verdict is Verdict.QUERY
    assert shape.thresholds == {"limit": 5}
    assert shape.required_evidence == {"demo.act": ("a", "b")}
    assert shape.declared_codes == {"MINE": "mine"}
    rule = shape.rules[0]
    assert (rule.rule_id, rule.stage, rule.verdict) == ("A", Stage.ESCALATIONS, Verdict.ESCALATE)
    assert [node.value for node in rule.all_of] == [{"evidence.k_is": 1}, {}, {"evidence.l_is": 2}]
    assert [node.value for node in rule.any_of or ()] == [{"evidence.m_is": 3}]
    assert rule.queries == (("evidence.k", "K?"),)
    assert rule.obligations == ({"type": "check"},)


@pytest.mark.parametrize(("block", "conditional"), [({}, False), ({"if": {}}, True), ({"if_all": []}, True)])
def test_a_block_counts_even_when_empty(block: dict, *, conditional: bool) -> None:
    """A rule is conditional as soon as a block is written (contract 1.6)."""
    rule = {"id": "A", "stage": "REQUIREMENTS", "then": POLICY["rules"][0]["then"], **block}
    shape, problems = read_shape(read_document(orjson.dumps({**POLICY, "rules": [rule]})))
    assert not problems
    assert shape.rules[0].conditional is conditional


def test_every_required_key_is_missed() -> None:
    """A document that is empty is told of each key that it lacks."""
    _, problems = read_shape(read_document(b"{}"))
    missing = {problem.message for problem in problems}
    names = ("schema_version", "policy_id", "policy_version", "defaults", "rules")
    assert missing == {f"missing `{name}`" for name in names}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"),
        (True, "true or false"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "text"),
        ([], "a list"),
        ({}, "a mapping"),
    ],
)
def test_types_have_names_for_people(value: object, word: str) -> None:
    """Messages never say `str` or `NoneType`."""
    assert kind(value) == word
