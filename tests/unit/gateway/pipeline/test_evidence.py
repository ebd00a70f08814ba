"""`gateway.pipeline.evidence`: counts and names of a request, of a plan, of an attempt."""

from __future__ import annotations

import orjson

from gateway.kernel.types import Verdict
from gateway.pipeline.evidence import addressed, evidence_of, planned_evidence, told
from gateway.wire.openai import Operation, read_llm_request
from tests.kit.playbook import Planned, verdict


def test_a_request_is_counts_and_names() -> None:
    """No word of a message; the ceiling where there is one; nothing of what has no body."""
    body = {"model": "m", "messages": [{"role": "user", "content": "secret words"}], "n": 3}
    facts = read_llm_request(Operation.CHAT, orjson.dumps(body))
    evidence = evidence_of(facts)
    assert evidence == {
        "model": "m",
        "stream": False,
        "estimated_input_tokens": facts.estimated_input_tokens,
        "tools_count": 0,
        "choices_count": 3,
    }
    capped = evidence_of(read_llm_request(Operation.CHAT, orjson.dumps(body | {"max_tokens": 5})))
    assert capped["max_tokens"] == 5
    assert evidence_of(None) == {}


def test_a_plan_adds_what_it_plans_where_it_goes() -> None:
    """Model and cap of one that goes; the intent alone of one that was turned away."""
    assert planned_evidence(Planned(), goes=True) == {
        "intent": "chat",
        "service_class": "standard",
        "planned_model": "small",
        "planned_max_tokens": 9,
    }
    assert set(planned_evidence(Planned(max_tokens=None), goes=True)) == {
        "intent",
        "service_class",
        "planned_model",
    }
    assert set(planned_evidence(Planned(), goes=False)) == {"intent", "service_class"}


def test_another_address_leaves_the_rest() -> None:
    """Only the system changes, and only evidence is added; the request that was given stays as it was."""
    asked = {
        "action": {"type": "t", "target": {"system": "a", "resource_id": "m"}},
        "evidence": {"model": "m"},
        "context": 1,
    }
    there = addressed(asked, "b", {"x": 1})
    assert there["action"] == {"type": "t", "target": {"system": "b", "resource_id": "m"}}
    assert there["evidence"] == {"model": "m", "x": 1}
    assert asked["action"]["target"]["system"] == "a"  # type: ignore[index]


def test_an_attempt_is_told_by_its_decision() -> None:
    """Verdict, reasons, policy and digest of the inputs."""
    decision = verdict(Verdict.ABSTAIN).decision
    assert told(decision) == {
        "verdict": "ABSTAIN",
        "reason_codes": list(decision.reason_codes),
        "policy_hash": decision.policy_hash,
        "inputs_digest": decision.inputs_digest,
    }
