"""What a DecisionRequest says of an LLM request: counts and names, never a message. Pure."""

from __future__ import annotations

from gateway.engine.decide import Decision
from gateway.kernel.types import JSONObject
from gateway.pipeline.ports import Terms
from gateway.wire.openai import LlmRequest


def evidence_of(facts: LlmRequest | None) -> JSONObject:
    """Return the evidence of a request as it came; none for what has no body."""
    if facts is None:
        return {}
    evidence: JSONObject = {
        "model": facts.model,
        "stream": facts.stream,
        "estimated_input_tokens": facts.estimated_input_tokens,
        "tools_count": facts.tools_count,
        "choices_count": facts.choices,
    }
    if facts.max_tokens is not None:
        evidence["max_tokens"] = facts.max_tokens
    return evidence


def addressed(asked: JSONObject, system: str, evidence: JSONObject) -> JSONObject:
    """Return a request with more evidence, for another system."""
    action = asked["action"]
    target = action["target"] | {"system": system}
    return asked | {"action": action | {"target": target}, "evidence": asked["evidence"] | evidence}


def told(decision: Decision) -> JSONObject:
    """Return what the event of an attempt says of the decision about it."""
    return {
        "verdict": decision.verdict.value,
        "reason_codes": list(decision.reason_codes),
        "policy_hash": decision.policy_hash,
        "inputs_digest": decision.inputs_digest,
    }


def planned_evidence(terms: Terms, *, goes: bool) -> JSONObject:
    """Return what a plan adds; of one that does not go on its intent alone."""
    evidence: JSONObject = {"intent": terms.intent, "service_class": terms.service_class}
    if goes:
        evidence["planned_model"] = terms.model
        if terms.max_tokens is not None:
            evidence["planned_max_tokens"] = terms.max_tokens
    return evidence
