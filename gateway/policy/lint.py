"""What is legal in a policy and probably not meant: findings with their places, errors and warnings.

A policy with lint errors still compiles and decides: policies written for the reference must load.
An error is a rule that cannot do what it says; a warning is one that may surprise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gateway.kernel.problem import Problem
from gateway.kernel.types import JSON, PRECEDENCE, Stage, Verdict
from gateway.policy.compile import WHEN_KEYS, CompiledPolicy, Scope
from gateway.policy.conditions import MEMORY_FIELD, Condition
from gateway.policy.contradiction import contradiction
from gateway.policy.document import Node
from gateway.policy.plan import CompiledRule
from gateway.policy.shape import RuleShape

RESERVED_IDS: Final = frozenset({"DEFAULT", "REQUIRED_EVIDENCE", "EVIDENCE_TYPES", "MEMORY_FLOOR"})
"""Rule ids under which the engine enters rows of its own."""
_ACTION_TYPE: Final = re.compile(r"[a-z0-9]+(?:\.[a-z0-9_]+)+")
_ACTION_BEGINNING: Final = re.compile(r"[a-z0-9]+(?:\.[a-z0-9_]+)*\.?")


class Severity(StrEnum):
    """How bad a finding is: an error makes `policy lint` fail."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is probably not meant, and where."""

    severity: Severity
    check: str
    """A stable name of what was checked, such as `unused-threshold`."""
    problem: Problem


def lint_policy(policy: CompiledPolicy) -> tuple[Finding, ...]:
    """Return every finding, in the order of the document."""
    rules = [
        _Rule(shape, compiled, scope)
        for shape, compiled, scope in zip(policy.shape.rules, policy.rules, policy.scopes, strict=True)
    ]
    findings = [*_lint_document(policy, rules), *_lint_types(rules)]
    for rule in rules:
        for check in _RULE_CHECKS:
            findings.extend(check(policy, rule, rules))
    return tuple(sorted(findings, key=lambda finding: (finding.problem.line, finding.problem.column)))


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """A rule as written, as compiled, and what it covers."""

    shape: RuleShape
    compiled: CompiledRule
    scope: Scope

    @property
    def named(self) -> str:
        return f"rule {self.compiled.rule_id}"

    def placed(self) -> Iterator[tuple[Condition, Node]]:
        """Yield each condition with its place; compiled conditions of one object are sorted by key."""
        objects = [*self.shape.all_of, *(self.shape.any_of or ())]
        nodes = [item.members[key] for item in objects for key in sorted(item.members)]
        yield from zip(self.compiled.conditions, nodes, strict=True)

    def problem(self, message: str) -> Problem:
        return self.shape.node.problem(f"{self.named} {message}")


@dataclass(frozen=True, slots=True)
class _NothingKnown:
    """The facts about a request that says nothing; a `FactView`."""

    evidence: Mapping[str, JSON] = field(default_factory=dict)
    target: Mapping[str, JSON] = field(default_factory=dict)
    subject: Mapping[str, JSON] = field(default_factory=dict)
    tags: Sequence[JSON] = ()
    roles: Sequence[JSON] = ()
    amount_usd: Decimal | None = None
    amount_currency: str | None = None
    fx_rate_present: bool = False
    failure_score: float = 0.0


_Check = Callable[[CompiledPolicy, _Rule, Sequence[_Rule]], Iterator[Finding]]


def _error(check: str, problem: Problem) -> Finding:
    return Finding(Severity.ERROR, check, problem)


def _warning(check: str, problem: Problem) -> Finding:
    return Finding(Severity.WARNING, check, problem)


# --- the document ------------------------------------------------------------------------------


def _lint_document(policy: CompiledPolicy, rules: Sequence[_Rule]) -> Iterator[Finding]:
    root = policy.shape.root
    if policy.default_verdict is Verdict.TRUST:
        place = root.members["defaults"].members["default_verdict"]
        yield _warning("trusting-default", place.problem("what no rule matches is trusted"))
    used = {condition.threshold for rule in rules for condition in rule.compiled.conditions}
    thresholds = root.members.get("thresholds")
    for name, node in (thresholds.members if thresholds is not None else {}).items():
        if name not in used:
            yield _warning("unused-threshold", node.key_problem(f"no rule refers to thresholds.{name}"))
    required = root.members.get("required_evidence")
    for action_type, node in (required.members if required is not None else {}).items():
        plain = [rule for rule in rules if rule.compiled.requirement and rule.scope.covers(action_type)]
        if not plain:
            message = f"no plain REQUIREMENTS rule covers {action_type}: it is enforced as MISSING_EVIDENCE"
            yield _warning("implied-requirement", node.key_problem(message))
        if _ACTION_TYPE.fullmatch(action_type) is None:
            message = f"`{action_type}` is no action type that a request can have"
            yield _error("impossible-action", node.key_problem(message))


# --- one rule ----------------------------------------------------------------------------------


def _check_scope(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del policy, rules
    members = rule.shape.when.members if rule.shape.when is not None else {}
    ignored = [key for key in WHEN_KEYS if key in members][1:]
    for key in ignored:
        message = f"{rule.named}: `{key}` is not looked at beside the other key of `when`"
        yield _warning("ignored-when", members[key].key_problem(message))
    scope = rule.scope
    possible = scope.everything or any(_ACTION_TYPE.fullmatch(name) for name in scope.names)
    if not possible and not (scope.prefix and _ACTION_BEGINNING.fullmatch(scope.prefix)):
        yield _error(
            "unreachable-rule", rule.problem("can never match: `when` names no possible action type")
        )
    if rule.compiled.rule_id in RESERVED_IDS:
        yield _warning("reserved-id", rule.problem("has an id under which the engine enters rows of its own"))


def _check_contradiction(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del policy, rules
    every, groups = rule.compiled.all_of, rule.compiled.any_of
    name = contradiction(every)
    if name is not None:
        yield _error(
            "contradiction", rule.problem(f"can never match: its conditions on {name} exclude each other")
        )
        return
    if groups is None or rule.shape.any_of is None:
        return
    dead = [contradiction([*every, *group]) for group in groups]
    if all(name is not None for name in dead):
        yield _error("contradiction", rule.problem("can never match: no alternative of `if_any` can hold"))
        return
    for name, node in zip(dead, rule.shape.any_of, strict=True):
        if name is not None:
            message = (
                f"{rule.named}: this alternative can never hold, its conditions on {name} exclude each other"
            )
            yield _warning("dead-alternative", node.problem(message))


def _check_requirement(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del rules
    if not rule.compiled.requirement:
        return
    required = {name for name, keys in policy.shape.required_evidence.items() if keys}
    covered = [name for name in required if rule.scope.covers(name)]
    if not covered:
        yield _error(
            "unreachable-rule", rule.problem("can never match: its actions have no required evidence")
        )
    for name in rule.scope.names:
        if covered and name not in required:
            yield _warning(
                "unreachable-rule", rule.problem(f"never matches {name}: it has no required evidence")
            )
    if rule.compiled.effect is Verdict.TRUST:
        yield _error("trust-on-missing", rule.problem("trusts an action because evidence is missing"))


def _check_trust_on_missing(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del rules
    if rule.compiled.effect is not Verdict.TRUST:
        return
    required = policy.shape.required_evidence
    names = rule.scope.names
    always = [set(required.get(name, ())) for name in names]
    guarded = set.intersection(*always) if always else set[str]()
    nothing = _NothingKnown()
    for condition, node in rule.placed():
        key = condition.field.removeprefix("evidence.")
        if condition.field != MEMORY_FIELD and key not in guarded and condition.test(nothing):
            message = f"{rule.named} trusts where {condition.field} is missing"
            yield _error("trust-on-missing", node.key_problem(message))
        if condition.operator == "matches" and not _is_anchored(condition.operand):
            message = f"{rule.named} trusts any text that holds a match: anchor the pattern with ^ and $"
            yield _warning("unanchored-pattern", node.problem(message))


def _is_anchored(pattern: str) -> bool:
    return pattern.startswith(("^", r"\A")) and pattern.endswith(("$", r"\z"))


def _check_outranked(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del policy
    rank = PRECEDENCE.index
    for other in rules:
        always = other.compiled.test is None and not other.compiled.requirement
        stricter = rank(other.compiled.effect) < rank(rule.compiled.effect)
        if always and stricter and _contains(other.scope, rule.scope):
            line = other.shape.node.line
            message = f"can never decide: {other.named} (line {line}) always matches and is stricter"
            yield _warning("outranked-rule", rule.problem(message))
            return


def _contains(outer: Scope, inner: Scope) -> bool:
    if outer.everything:
        return True
    if inner.names:
        return all(outer.covers(name) for name in inner.names)
    return bool(outer.prefix) and bool(inner.prefix) and inner.prefix.startswith(outer.prefix)


def _check_memory(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del policy, rules
    for condition, node in rule.placed():
        if condition.field != MEMORY_FIELD:
            continue
        tightens = condition.operator in {"gt", "gte"}
        if tightens is (rule.compiled.effect is Verdict.TRUST):
            message = f"{rule.named} would be looser the more failures are remembered; memory never loosens"
            yield _warning("memory-loosens", node.key_problem(message))


def _check_queries(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del policy, rules
    if rule.compiled.queries and rule.compiled.effect is not Verdict.QUERY:
        effect = rule.compiled.effect
        message = f"has questions that its own {effect} never asks: only a QUERY asks"
        yield _warning("silent-queries", rule.problem(message))


def _lint_types(rules: Sequence[_Rule]) -> Iterator[Finding]:
    compared: dict[str, list[tuple[_Rule, frozenset[str]]]] = {}
    for rule in rules:
        for condition, node in rule.placed():
            wanted = _classes(condition)
            if not wanted:
                continue
            earlier = compared.setdefault(condition.field, [])
            for other, classes in earlier:
                if not wanted & classes and _overlap(rule.scope, other.scope):
                    message = f"{rule.named} and {other.named} compare {condition.field} as different types"
                    yield _error("type-clash", node.key_problem(message))
                    break
            earlier.append((rule, wanted))


_SAME: Final = {"integer": "number", "rate": "number", "amount": "number", "pattern_text": "text"}


def _classes(condition: Condition) -> frozenset[str]:
    return frozenset(_SAME.get(kind, kind) for kind in condition.expects)


def _overlap(one: Scope, other: Scope) -> bool:
    if one.everything or other.everything:
        return True
    names = any(other.covers(name) for name in one.names) or any(one.covers(name) for name in other.names)
    alike = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
    return names or (bool(one.prefix) and bool(other.prefix) and alike)


def _check_stage(policy: CompiledPolicy, rule: _Rule, rules: Sequence[_Rule]) -> Iterator[Finding]:
    del policy, rules
    compiled = rule.compiled
    usual = {Stage.HARD_BLOCKS: Verdict.ABSTAIN, Stage.ESCALATIONS: Verdict.ESCALATE}
    usual |= {Stage.TRUST_PATHS: Verdict.TRUST, Stage.REQUIREMENTS: Verdict.QUERY}
    if (compiled.effect is Verdict.TRUST) is not (compiled.stage is Stage.TRUST_PATHS):
        message = f"says {compiled.effect} in {compiled.stage}, where {usual[compiled.stage]} is usual"
        yield _warning("unusual-verdict", rule.problem(message))


_RULE_CHECKS: Final[tuple[_Check, ...]] = (
    _check_scope,
    _check_contradiction,
    _check_requirement,
    _check_trust_on_missing,
    _check_outranked,
    _check_memory,
    _check_queries,
    _check_stage,
)
