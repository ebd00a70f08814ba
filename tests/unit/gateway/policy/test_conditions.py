"""Condition keys, their operands and their tests; the cases of every operator stand in `vectors/v0`."""

from __future__ import annotations

import pytest

from gateway.engine.facts import derive
from gateway.policy.conditions import compile_condition, split_key
from gateway.policy.operators import ConditionError


def holds(key: str, operand: object, evidence: dict | None = None, score: float = 0.0) -> bool:
    """Compile one condition and test it on this evidence."""
    action = {"type": "demo.act", "intent": "x", "tags": ["a"], "target": {"system": "crm"}}
    request = {"action": action, "subject": {"type": "agent", "id": "s"}, "evidence": evidence or {}}
    return compile_condition(key, operand, {"limit": 5}).test(derive(request, score))


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("amount_usd_gte", ("amount_usd", "gte")),
        ("amount_currency_ne", ("amount_currency", "ne")),
        ("tags_any", ("tags", "any")),
        ("evidence.k_not_in", ("evidence.k", "not_in")),
        ("evidence.is_in", ("evidence.is", "in")),
        ("evidence.a.b_is", ("evidence.a.b", "is")),
        ("subject.user_agent_matches", ("subject.user_agent", "matches")),
        ("action.target.resource_type_in", ("action.target.resource_type", "in")),
    ],
)
def test_keys_split_at_the_longest_operator(key: str, parts: tuple[str, str]) -> None:
    """A key is what it reads and its operator."""
    assert split_key(key) == parts


@pytest.mark.parametrize(
    "key", ["", "_is", "evidence", "evidence.", "evidence.k", "evidence._is", "amount_usd_is"]
)
def test_unknown_keys_are_refused_at_the_key(key: str) -> None:
    """A key that reads nothing known is an error placed at the key."""
    with pytest.raises(ConditionError) as caught:
        split_key(key)
    assert caught.value.at_key


def test_the_score_of_the_caller_is_not_read() -> None:
    """`failure_similarity_score` is memory's, whatever the evidence says."""
    key = "evidence.failure_similarity_score_gte"
    assert not holds(key, 0.5, {"failure_similarity_score": 0.9})
    assert holds(key, 0.5, {"failure_similarity_score": 0.1}, score=0.5)


def test_thresholds_are_resolved_and_remembered() -> None:
    """A condition knows the value and the name of its threshold."""
    condition = compile_condition("evidence.k_gt", "thresholds.limit", {"limit": 5})
    assert (condition.operand, condition.threshold) == (5, "limit")
    assert holds("evidence.k_gt", "thresholds.limit", {"k": 6})
