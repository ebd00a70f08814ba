"""Policy text in, `CompiledPolicy` out: validated, hashed and indexed by action type.

Everything that could go wrong at a decision is refused here, with its place: unknown operators and
reason codes, operands of the wrong type, duplicate ids. What only looks wrong is `lint`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.kernel.canon import canonical_bytes, digest
from gateway.kernel.errors import InvalidPolicyError
from gateway.kernel.problem import Problem
from gateway.kernel.types import JSON, Mode, Stage, Verdict
from gateway.policy.conditions import Condition, compile_condition
from gateway.policy.document import Node, read_document
from gateway.policy.operators import ConditionError
from gateway.policy.plan import PLAN_ENTRIES_MAX, ActionPlan, CompiledRule, build_plan, make_rule
from gateway.policy.shape import RULE_STAGES, PolicyShape, RuleShape, kind, read_shape
from gateway.records.reasons import reason_codes

WHEN_KEYS: Final = ("action_type", "action_type_in", "action_type_prefix")
"""Of several the first in this order counts (contract 1.6; the prefix is ours)."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which actions a rule applies to: all of them, some by name, or those that begin alike."""

    everything: bool
    names: tuple[str, ...] = ()
    prefix: str = ""

    def covers(self, action_type: str) -> bool:
        """Tell whether an action of this type can meet the rule."""
        return self.everything or action_type in self.names or self._prefixed(action_type)

    def _prefixed(self, action_type: str) -> bool:
        return bool(self.prefix) and action_type.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy ready to decide. Equal texts give equal hashes, whatever their layout."""

    policy_id: str
    policy_version: str
    policy_hash: str
    default_mode: Mode
    default_verdict: Verdict
    default_reason_code: str
    text: bytes
    """As read, so that a record can be replayed with it."""
    action_types: frozenset[str]
    """Action types that its rules or its required evidence name."""
    action_prefixes: frozenset[str]
    """Beginnings of action types that its rules name."""
    rules: tuple[CompiledRule, ...]
    """In file order."""
    scopes: tuple[Scope, ...]
    """Of each rule, in the same order."""
    identity: bytes
    """The canonical members `policy_hash`, `policy_id` and `policy_version`, for records."""
    default_rule: CompiledRule
    """Stands in for the rules where none matched."""
    plans: dict[str, ActionPlan]
    """By action type and by prefix (which ends in an asterisk); the empty key is for all others."""
    shape: PolicyShape
    source: str

    def plan(self, action_type: str) -> ActionPlan:
        """Return the plan for an action type, named by the policy or not."""
        found = self.plans.get(action_type)
        if found is not None:
            return found
        # The prefixes that fit are beginnings of each other, so the longest one's plan has all their rules.
        fitting = [prefix for prefix in self.action_prefixes if action_type.startswith(prefix)]
        return self.plans[f"{max(fitting, key=len)}*" if fitting else ""]


def compile_policy(text: bytes, *, source: str = "policy") -> CompiledPolicy:
    """Return the compiled form of a `policy.v0` document (YAML or JSON, UTF-8).

    `source` names the document in errors. Raises `InvalidPolicyError` with every problem found: of
    shape first, then the default's reason code, then rule by rule.
    """
    root = read_document(text, source=source)
    if not isinstance(root.value, dict):
        raise InvalidPolicyError([root.problem("the document did not parse to an object")], source=source)
    shape, problems = read_shape(root)
    compiler = _Compiler(shape)
    rules, scopes = compiler.rules()
    problems += compiler.problems
    if problems:
        raise InvalidPolicyError(problems, source=source)
    names = frozenset(shape.required_evidence).union(*(scope.names for scope in scopes))
    prefixes = frozenset(scope.prefix for scope in scopes if scope.prefix)
    code = compiler.default_code
    identity = {
        "policy_id": shape.policy_id,
        "policy_version": shape.policy_version,
        "policy_hash": digest(root.value),
    }
    return CompiledPolicy(
        **identity,
        identity=canonical_bytes(identity)[1:-1],
        default_mode=shape.mode,
        default_verdict=shape.default_verdict,
        default_reason_code=code,
        text=bytes(text),
        action_types=names,
        action_prefixes=prefixes,
        rules=rules,
        scopes=scopes,
        default_rule=make_rule(
            rule_id="DEFAULT", stage=Stage.DEFAULT, effect=shape.default_verdict, reason_codes=[code]
        ),
        plans=_plans(shape, rules, scopes, names, prefixes, source),
        shape=shape,
        source=source,
    )


class _Compiler:
    """Compiles the rules of one shape and collects what is wrong in them."""

    def __init__(self, shape: PolicyShape) -> None:
        self.problems: list[Problem] = []
        self._shape = shape
        self._codes = frozenset(reason_codes()).union(shape.declared_codes)
        node = shape.default_reason_code
        self.default_code: str = node.value if node is not None else ""
        if node is not None and node.value not in self._codes:
            self.problems.append(node.problem(f"unknown default_reason_code: {node.value}"))

    def rules(self) -> tuple[tuple[CompiledRule, ...], tuple[Scope, ...]]:
        scopes = []
        rules = []
        for shape in self._shape.rules:
            scopes.append(self._scope(shape))
            rules.append(self._rule(shape))
        return tuple(rules), tuple(scopes)

    def _scope(self, rule: RuleShape) -> Scope:
        members = rule.when.members if rule.when is not None else {}
        for key, node in members.items():
            if key not in WHEN_KEYS:
                self.problems.append(node.key_problem(f"rule {rule.rule_id}: unsupported when key: {key}"))
        for key in WHEN_KEYS:
            if key in members:
                return self._named_scope(rule, key, members[key])
        return Scope(everything=True)

    def _named_scope(self, rule: RuleShape, key: str, node: Node) -> Scope:
        value: JSON = node.value
        if key == "action_type_in":
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                return Scope(everything=False, names=tuple(value))
            wanted = "a list of text"
        elif isinstance(value, str) and value:
            if key == "action_type":
                return Scope(everything=False, names=(value,))
            return Scope(everything=False, prefix=value)
        else:
            wanted = "text that is not empty"
        message = f"rule {rule.rule_id}: {key} takes {wanted}, not {kind(value)}"
        self.problems.append(node.problem(message))
        return Scope(everything=False)

    def _rule(self, rule: RuleShape) -> CompiledRule:
        all_of = [item for node in rule.all_of for item in self._conditions(rule, node)]
        any_of = None if rule.any_of is None else [self._conditions(rule, node) for node in rule.any_of]
        for code in rule.reason_codes:
            if code.value not in self._codes:
                message = f"rule {rule.rule_id}: unknown reason code: {code.value}"
                self.problems.append(code.problem(message))
        return make_rule(
            rule_id=rule.rule_id,
            stage=rule.stage,
            effect=rule.verdict,
            reason_codes=[code.value for code in rule.reason_codes],
            queries=rule.queries,
            obligations=rule.obligations,
            requirement=rule.stage is Stage.REQUIREMENTS and not rule.conditional,
            all_of=all_of,
            any_of=any_of,
        )

    def _conditions(self, rule: RuleShape, expression: Node) -> list[Condition]:
        found = []
        for key, node in expression.members.items():
            try:
                found.append(compile_condition(key, node.value, self._shape.thresholds))
            except ConditionError as error:
                place = node.key_problem if error.at_key else node.problem
                self.problems.append(place(f"rule {rule.rule_id}: {error.message}"))
        # In the order of the hash, not of the text: policies of one hash explain themselves alike.
        return sorted(found, key=lambda condition: condition.key)


def _plans(
    shape: PolicyShape,
    rules: Sequence[CompiledRule],
    scopes: Sequence[Scope],
    names: Iterable[str],
    prefixes: Iterable[str],
    source: str,
) -> dict[str, ActionPlan]:
    order = sorted(range(len(rules)), key=lambda index: RULE_STAGES.index(rules[index].stage))
    common = [index for index in order if not scopes[index].names]
    by_name: dict[str, list[int]] = {name: [] for name in names}
    for index, scope in enumerate(scopes):
        for name in dict.fromkeys(scope.names):
            by_name[name].append(index)
    entries = len(common) * len(by_name) + sum(map(len, by_name.values()))
    if entries > PLAN_ENTRIES_MAX:
        message = (
            f"{len(by_name)} action types times their rules come to {entries}, at most {PLAN_ENTRIES_MAX}"
        )
        raise InvalidPolicyError([shape.root.problem(f"{message}: split it into packs")], source=source)
    position = {index: place for place, index in enumerate(order)}

    def plan(action_type: str, named: Sequence[int]) -> ActionPlan:
        fitting = [index for index in common if scopes[index].covers(action_type)]
        fitting = sorted({*fitting, *named}, key=position.__getitem__)
        return build_plan([rules[index] for index in fitting], shape.required_evidence.get(action_type, ()))

    plans = {name: plan(name, indices) for name, indices in by_name.items()}
    plans[""] = plan("", ())
    for prefix in prefixes:
        plans[f"{prefix}*"] = plan(prefix, ())
    return plans
