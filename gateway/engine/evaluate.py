"""Which rules match: every stage in order, every rule of a stage in file order, none skipped.

No match ends the evaluation: a record lists everything that spoke for or against. Total: tests never
raise, so neither does this.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.engine.facts import Facts, Fault, find_faults, missing_evidence
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.types import PRECEDENCE, Stage, Verdict
from gateway.policy.compile import CompiledPolicy
from gateway.policy.plan import ActionPlan, CompiledRule, make_rule
from gateway.records.reasons import EVIDENCE_TYPE_INVALID, MEMORY_NEVER_LOOSENS

FAULT_RULE: Final = make_rule(
    rule_id="EVIDENCE_TYPES",
    stage=Stage.ESCALATIONS,
    effect=Verdict.ESCALATE,
    reason_codes=(EVIDENCE_TYPE_INVALID,),
)
"""Matches where evidence that a rule needs is of the wrong type: such a request is never trusted."""
MEMORY_FLOORS: Final = {
    verdict: make_rule(
        rule_id="MEMORY_FLOOR",
        stage=Stage.ESCALATIONS,
        effect=verdict,
        reason_codes=(MEMORY_NEVER_LOOSENS,),
    )
    for verdict in Verdict
}
"""Match where a policy would be looser with what memory says than without it."""


@hot_dataclass(frozen=True, slots=True)
class Evaluation:
    """What matched, in evaluation order, and what was wrong or missing."""

    matched: tuple[CompiledRule, ...]
    """Never empty: the default stands in where no rule of the policy matched."""
    missing: tuple[str, ...]
    faults: tuple[Fault, ...]


def evaluate(policy: CompiledPolicy, plan: ActionPlan, facts: Facts) -> Evaluation:
    """Return what matches; memory can add to it or tighten it, and never loosens the verdict."""
    missing = missing_evidence(facts, plan)
    faults = find_faults(facts, plan)
    matched = _matched(policy, plan, facts, missing=missing, faulty=bool(faults))
    if plan.uses_memory and facts.failure_score > 0:
        without = replace(facts, failure_score=0.0)
        unadvised = _matched(policy, plan, without, missing=missing, faulty=bool(faults))
        floor = strictest(unadvised)
        if PRECEDENCE.index(floor) < PRECEDENCE.index(strictest(matched)):
            matched = (*matched, MEMORY_FLOORS[floor])
    return Evaluation(matched, missing, faults)


def strictest(matched: tuple[CompiledRule, ...]) -> Verdict:
    """Return the effect that wins: ABSTAIN over QUERY over ESCALATE over TRUST."""
    effects = {rule.effect for rule in matched}
    return next((verdict for verdict in PRECEDENCE if verdict in effects), Verdict.ABSTAIN)


def _matched(
    policy: CompiledPolicy, plan: ActionPlan, facts: Facts, *, missing: tuple[str, ...], faulty: bool
) -> tuple[CompiledRule, ...]:
    matched: list[CompiledRule] = []
    for rule in plan.before_trust:
        if rule.requirement:
            if missing:
                matched.append(rule)
        elif rule.test is None or rule.test(facts):
            matched.append(rule)
    for rule in plan.trust_paths:
        if rule.test is None or rule.test(facts):
            matched.append(rule)  # noqa: PERF401 - the same shape as the loop above
    if not matched:
        matched.append(policy.default_rule)
    if faulty:
        # In the order of the stages: after the escalations, before the trust paths and the default.
        late = (Stage.TRUST_PATHS, Stage.DEFAULT)
        place = next((at for at, rule in enumerate(matched) if rule.stage in late), len(matched))
        matched.insert(place, FAULT_RULE)
    return tuple(matched)
