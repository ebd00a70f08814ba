"""Which rules match; the golden cases of precedence and memory stand in `vectors/v0`."""

from __future__ import annotations

import orjson
import pytest

from gateway.engine.evaluate import MEMORY_FLOORS, evaluate, strictest
from gateway.engine.facts import derive
from gateway.kernel.types import Stage, Verdict
from gateway.policy.compile import CompiledPolicy, compile_policy


def policy(*rules: tuple[str, str, dict], default: str = "ESCALATE") -> CompiledPolicy:
    """Return a policy of rules given as stage, verdict and condition."""
    return compile_policy(
        orjson.dumps(
            {
                "schema_version": "policy.v0",
                "policy_id": "p",
                "policy_version": "1",
                "defaults": {
                    "mode": "enforce",
                    "default_verdict": default,
                    "default_reason_code": "CREDIT_SMALL",
                },
                "rules": [
                    {
                        "id": f"R{number}",
                        "stage": stage,
                        "if": condition,
                        "then": {"verdict": verdict, "reason_codes": ["CREDIT_SMALL"]},
                    }
                    for number, (stage, verdict, condition) in enumerate(rules)
                ],
            }
        )
    )


def matched(compiled: CompiledPolicy, evidence: dict, score: float = 0.0) -> list[str]:
    """Return the ids of what matches."""
    request = {
        "action": {"type": "demo.act", "intent": "x"},
        "subject": {"type": "agent", "id": "s"},
        "evidence": evidence,
    }
    facts = derive(request, score)
    return [rule.rule_id for rule in evaluate(compiled, compiled.plan("demo.act"), facts).matched]


def test_no_match_ends_the_evaluation() -> None:
    """All rules that match are collected, after an ABSTAIN too."""
    compiled = policy(
        ("TRUST_PATHS", "TRUST", {}), ("HARD_BLOCKS", "ABSTAIN", {}), ("REQUIREMENTS", "QUERY", {})
    )
    assert matched(compiled, {}) == ["R2", "R1", "R0"]


def test_a_fault_stands_after_the_escalations() -> None:
    """The engine's own row comes in the order of the stages, before trust paths and default."""
    wrong = {"evidence.k_gt": 1}
    compiled = policy(
        ("TRUST_PATHS", "TRUST", {}), ("ESCALATIONS", "ESCALATE", {}), ("ESCALATIONS", "QUERY", wrong)
    )
    assert matched(compiled, {"k": "x"}) == ["R1", "EVIDENCE_TYPES", "R0"]
    assert matched(policy(("ESCALATIONS", "QUERY", wrong)), {"k": "x"}) == ["EVIDENCE_TYPES", "DEFAULT"]


@pytest.mark.parametrize(
    ("default", "rows"),
    [("ABSTAIN", ["R0", "MEMORY_FLOOR"]), ("ESCALATE", ["R0"]), ("TRUST", ["R0"])],
)
def test_memory_never_loosens(default: str, rows: list[str]) -> None:
    """An escalation that memory brings does not take the place of a stricter default."""
    compiled = policy(
        ("ESCALATIONS", "ESCALATE", {"evidence.failure_similarity_score_gte": 0.5}), default=default
    )
    assert matched(compiled, {}, 0.9) == rows
    assert matched(compiled, {}, 0.0) == ["DEFAULT"]


def test_the_strictest_effect_wins() -> None:
    """ABSTAIN goes before QUERY before ESCALATE before TRUST."""
    order = [Verdict.ABSTAIN, Verdict.QUERY, Verdict.ESCALATE, Verdict.TRUST]
    for place, verdict in enumerate(order):
        assert strictest(tuple(MEMORY_FLOORS[item] for item in reversed(order[place:]))) is verdict
    assert strictest(()) is Verdict.ABSTAIN


def test_rows_stand_in_the_order_of_the_stages() -> None:
    """Matched rows never go back a stage."""
    stages = ["TRUST_PATHS", "REQUIREMENTS", "ESCALATIONS", "HARD_BLOCKS"] * 2
    compiled = policy(*[(stage, "TRUST", {}) for stage in stages])
    ids = matched(compiled, {})
    assert ids == ["R1", "R5", "R3", "R7", "R2", "R6", "R0", "R4"]
    assert Stage.REQUIREMENTS.value == stages[1]
