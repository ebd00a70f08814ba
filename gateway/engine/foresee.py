"""What a policy can still say of an action of which only some facts are known: does it refuse in any case.

Asked of a tool before anybody calls it, so that a list need not offer what no call of it could ever do. Every
condition is true, false or open (Kleene's three values); an answer is given only where no open one can change
it. Sound, and not complete: where this says no, calls may still all be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from gateway.engine.facts import Facts
from gateway.kernel.types import Verdict
from gateway.policy.compile import CompiledPolicy
from gateway.policy.conditions import Condition
from gateway.policy.plan import ActionPlan, CompiledRule

Known = Callable[[str], bool]
"""Tells whether a fact (a condition's `field`) can no longer change."""


class _Match(Enum):
    SURE = auto()
    OPEN = auto()
    NEVER = auto()


def always_refused(policy: CompiledPolicy, facts: Facts, known: Known) -> bool:
    """Tell whether the policy's verdict is ABSTAIN whatever becomes of the facts that are not known."""
    plan = policy.plan(facts.action_type)
    rules = (*plan.before_trust, *plan.trust_paths)
    matches = [(rule, _match(rule, plan, facts, known)) for rule in rules]
    if any(rule.effect is Verdict.ABSTAIN and match is _Match.SURE for rule, match in matches):
        return True
    if policy.default_verdict is not Verdict.ABSTAIN or _may_escalate(plan, known):
        return False
    return all(rule.effect is Verdict.ABSTAIN or match is _Match.NEVER for rule, match in matches)


def _may_escalate(plan: ActionPlan, known: Known) -> bool:
    """Evidence of a wrong type escalates by itself; so may a failure that memory will come to know."""
    open_needs = any(not known(f"evidence.{need.key}") for need in plan.needs)
    return open_needs or plan.amount_rule is not None or plan.uses_memory


def _match(rule: CompiledRule, plan: ActionPlan, facts: Facts, known: Known) -> _Match:
    if rule.requirement:
        return _Match.OPEN if plan.required else _Match.NEVER
    every = [_holds(condition, facts, known) for condition in rule.all_of]
    if rule.any_of is not None:
        groups = [_every([_holds(one, facts, known) for one in group]) for group in rule.any_of]
        every.append(_some(groups))
    return _every(every)


def _holds(condition: Condition, facts: Facts, known: Known) -> _Match:
    if not known(condition.field):
        return _Match.OPEN
    return _Match.SURE if condition.test(facts) else _Match.NEVER


def _every(parts: list[_Match]) -> _Match:
    if _Match.NEVER in parts:
        return _Match.NEVER
    return _Match.OPEN if _Match.OPEN in parts else _Match.SURE


def _some(parts: list[_Match]) -> _Match:
    if _Match.SURE in parts:
        return _Match.SURE
    return _Match.OPEN if _Match.OPEN in parts else _Match.NEVER
