"""The types of what the library returns: plain dicts, described for editors and type checkers.

They say the same as `schemas/decision_record.v0.json`; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

VerdictName = Literal["TRUST", "ABSTAIN", "ESCALATE", "QUERY"]
StageName = Literal["REQUIREMENTS", "HARD_BLOCKS", "ESCALATIONS", "TRUST_PATHS", "DEFAULT"]


class MatchedRule(TypedDict):
    """A rule that matched, in the order of evaluation."""

    rule_id: str
    stage: StageName
    effect: str
    reason_codes: list[str]


class MemoryHitDict(TypedDict):
    """A remembered outcome that resembles the request."""

    memory_id: str
    label: Literal["failure", "success", "near_miss"]
    score: float
    summary: NotRequired[str]


class FailureSimilarity(TypedDict):
    """The best score over all remembered failures, and the best hits of any label."""

    score: float
    top_k: list[MemoryHitDict]


class RiskSignals(TypedDict):
    """What speaks of risk besides the rules."""

    uncertainty_score: float
    failure_similarity: FailureSimilarity
    ood_score: NotRequired[float]
    drift_flag: NotRequired[bool]


class PolicyRef(TypedDict):
    """Which policy decided, and in what mode."""

    policy_id: str
    policy_version: str
    policy_hash: str
    mode: Literal["enforce", "advisory"]


class Query(TypedDict):
    """A question that must be answered first."""

    field: str
    question: str


class Explanation(TypedDict):
    """The decision in words."""

    summary: str
    details: list[str]


class Determinism(TypedDict):
    """What a replay needs."""

    engine_version: str
    evaluation_order: list[StageName]
    inputs_digest: str
    memory_snapshot: str


class DecisionEvent(TypedDict):
    """Something that happened to the decision later."""

    event_id: str
    at: str
    type: Literal["outcome", "label", "note", "override"]
    data: dict[str, Any]


class DecisionRecord(TypedDict):
    """A `decision_record.v0`."""

    schema_version: Literal["decision_record.v0"]
    decision_id: str
    created_at: str
    trace: dict[str, str]
    request: dict[str, Any]
    policy: PolicyRef
    verdict: VerdictName
    reason_codes: list[str]
    matched_rules: list[MatchedRule]
    risk_signals: RiskSignals
    queries: list[Query]
    obligations: list[dict[str, Any]]
    explanation: Explanation
    determinism: Determinism
    extensions: dict[str, Any]
    decision_event_log: NotRequired[list[DecisionEvent]]
    links: NotRequired[dict[str, str]]


class Labelled(TypedDict):
    """The ids of a label: its event, and the memory item that later decisions are compared with."""

    event_id: str
    memory_id: str


class Replayed(TypedDict):
    """A stored decision decided again. `differences` are RFC 6901 pointers; empty where every byte agrees."""

    decision_id: str
    identical: bool
    differences: list[str]
    verdict: VerdictName
    policy_hash: str
    inputs_digest: str
