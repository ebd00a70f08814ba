"""From a document's nodes to typed parts of a `policy.v0`: required keys, closed objects, types.

Everything wrong is reported with its place, and what is right is returned all the same, so that
`compile` can go on and report what is wrong inside the parts that have their shape. Conditions and
reason codes are not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

from gateway.kernel.problem import Problem
from gateway.kernel.types import JSON, JSONObject, Mode, Stage, Verdict
from gateway.policy.document import Node

SCHEMA_VERSION: Final = "policy.v0"
RULE_STAGES: Final = (Stage.REQUIREMENTS, Stage.HARD_BLOCKS, Stage.ESCALATIONS, Stage.TRUST_PATHS)
"""The stages a rule may name; DEFAULT is the engine's own."""

_ROOT_REQUIRED: Final = ("schema_version", "policy_id", "policy_version", "defaults", "rules")
_ROOT_OPTIONAL: Final = ("thresholds", "required_evidence", "extensions")
_RULE_OPTIONAL: Final = ("when", "if", "if_all", "if_any")
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_Choice = TypeVar("_Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class RuleShape:
    """One rule whose parts have the right types; `node` gives the places."""

    node: Node
    rule_id: str
    stage: Stage
    when: Node | None
    all_of: tuple[Node, ...]
    """The condition objects of `if` and `if_all`: every one must hold."""
    any_of: tuple[Node, ...] | None
    """The condition objects of `if_any`: one must hold. None where the rule has no `if_any`."""
    conditional: bool
    """True where any of `if`, `if_all`, `if_any` is written, even empty."""
    verdict: Verdict
    reason_codes: tuple[Node, ...]
    queries: tuple[tuple[str, str], ...]
    obligations: tuple[JSONObject, ...]


@dataclass(frozen=True, slots=True)
class PolicyShape:
    """A policy whose parts have the right types. Meaningless while there are problems."""

    root: Node
    policy_id: str
    policy_version: str
    mode: Mode
    default_verdict: Verdict
    default_reason_code: Node | None
    thresholds: JSONObject
    required_evidence: dict[str, tuple[str, ...]]
    declared_codes: dict[str, str]
    """Reason codes that the policy declares for itself, with their descriptions."""
    rules: tuple[RuleShape, ...]


def read_shape(root: Node) -> tuple[PolicyShape, list[Problem]]:
    """Return the parts of the policy and everything wrong with its shape."""
    check = _Check()
    check.mapping(root, _ROOT_REQUIRED, _ROOT_OPTIONAL)
    version = root.members.get("schema_version")
    if version is not None and version.value != SCHEMA_VERSION:
        check.report(version, f"schema_version must be {SCHEMA_VERSION}")
    defaults = root.members.get("defaults")
    if defaults is not None:
        check.mapping(defaults, ("mode", "default_verdict", "default_reason_code"), ())
    under = defaults.members if defaults is not None else {}
    shape = PolicyShape(
        root=root,
        policy_id=check.text(root.members.get("policy_id")),
        policy_version=check.text(root.members.get("policy_version")),
        mode=check.choice(under.get("mode"), tuple(Mode)),
        default_verdict=check.choice(under.get("default_verdict"), tuple(Verdict)),
        default_reason_code=check.text_node(under.get("default_reason_code")),
        thresholds=check.object(root.members.get("thresholds")),
        required_evidence=_required_evidence(check, root.members.get("required_evidence")),
        declared_codes=_declared_codes(check, root.members.get("extensions")),
        rules=_rules(check, root.members.get("rules")),
    )
    return shape, check.problems


@dataclass(slots=True)
class _Check:
    """Collects problems; every method answers with something usable even where it reports."""

    problems: list[Problem] = field(default_factory=list)

    def report(self, node: Node, message: str) -> None:
        self.problems.append(node.problem(message))

    def mapping(self, node: Node, required: Sequence[str], optional: Sequence[str]) -> bool:
        """Report missing and unknown members; False where the node is no mapping."""
        if not isinstance(node.value, dict):
            self.report(node, f"must be a mapping, not {kind(node.value)}")
            return False
        for key in required:
            if key not in node.members:
                self.report(node, f"missing `{key}`")
        for key, member in node.members.items():
            if key not in required and key not in optional:
                allowed = ", ".join((*required, *optional))
                self.problems.append(member.key_problem(f"unknown key `{key[:60]}`: allowed are {allowed}"))
        return True

    def sequence(self, node: Node | None, *, least: int = 0) -> list[Node]:
        if node is None:
            return []
        if not isinstance(node.value, list):
            self.report(node, f"must be a list, not {kind(node.value)}")
        elif len(node.items) < least:
            self.report(node, f"must have at least {least} item")
        return node.items

    def object(self, node: Node | None) -> JSONObject:
        if node is None:
            return {}
        if not isinstance(node.value, dict):
            self.report(node, f"must be a mapping, not {kind(node.value)}")
            return {}
        return node.value

    def text_node(self, node: Node | None, *, least: int = 1) -> Node | None:
        """Return the node if it is text of at least `least` characters; report and None otherwise."""
        if node is None:
            return None
        if not isinstance(node.value, str):
            hint = ": quote it" if isinstance(node.value, int | float) else ""
            self.report(node, f"must be text, not {kind(node.value)}{hint}")
            return None
        if len(node.value) < least:
            self.report(node, "must not be empty")
            return None
        return node

    def text(self, node: Node | None, *, least: int = 1) -> str:
        found = self.text_node(node, least=least)
        return found.value if found is not None else ""

    def choice(self, node: Node | None, allowed: tuple[_Choice, ...]) -> _Choice:
        if node is not None:
            for member in allowed:
                if node.value == member.value:
                    return member
            self.report(node, f"must be one of {', '.join(member.value for member in allowed)}")
        return allowed[0]


def kind(value: JSON) -> str:
    """Return what people call the type of a JSON value."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(value.__class__, "a mapping")


def _required_evidence(check: _Check, node: Node | None) -> dict[str, tuple[str, ...]]:
    check.object(node)
    found: dict[str, tuple[str, ...]] = {}
    for action_type, keys in (node.members if node is not None else {}).items():
        found[action_type] = tuple(check.text(key) for key in check.sequence(keys))
    return found


def _declared_codes(check: _Check, extensions: Node | None) -> dict[str, str]:
    check.object(extensions)
    codes = extensions.members.get("reason_codes") if extensions is not None else None
    declared: dict[str, str] = {}
    for item in check.sequence(codes):
        if check.mapping(item, ("code", "description"), ()):
            code = check.text(item.members.get("code"))
            if code and _CODE.fullmatch(code) is None:
                check.report(item.members["code"], "a reason code is upper-case letters, digits and `_`")
            declared[code] = check.text(item.members.get("description"))
    return declared


def _rules(check: _Check, node: Node | None) -> tuple[RuleShape, ...]:
    rules = [_rule(check, item) for item in check.sequence(node, least=1)]
    seen: dict[str, RuleShape] = {}
    for rule in rules:
        if rule is None or not rule.rule_id:
            continue
        first = seen.setdefault(rule.rule_id, rule)
        if first is not rule:
            place = rule.node.members["id"]
            line = first.node.members["id"].line
            check.report(place, f"duplicate rule id `{rule.rule_id}`, first seen on line {line}")
    return tuple(rule for rule in rules if rule is not None)


def _rule(check: _Check, node: Node) -> RuleShape | None:
    if not check.mapping(node, ("id", "stage", "then"), _RULE_OPTIONAL):
        return None
    members = node.members
    rule_id = check.text(members.get("id"))
    stage = check.choice(members.get("stage"), RULE_STAGES)
    then = members.get("then")
    optional = ("queries", "obligations")
    if then is not None and not check.mapping(then, ("verdict", "reason_codes"), optional):
        then = None
    parts = then.members if then is not None else {}
    codes = parts.get("reason_codes")
    named = [check.text_node(code, least=0) for code in check.sequence(codes, least=1)]
    when = members.get("when")
    check.object(when)
    if_all, if_any = members.get("if_all"), members.get("if_any")
    single = members.get("if")
    return RuleShape(
        node=node,
        rule_id=rule_id,
        stage=stage,
        when=when,
        all_of=(
            *_expressions(check, rule_id, [single] if single is not None else []),
            *_expressions(check, rule_id, _blocks(check, rule_id, "if_all", if_all)),
        ),
        any_of=None
        if if_any is None
        else _expressions(check, rule_id, _blocks(check, rule_id, "if_any", if_any)),
        conditional=any(part is not None for part in (single, if_all, if_any)),
        verdict=check.choice(parts.get("verdict"), tuple(Verdict)),
        reason_codes=tuple(code for code in named if code is not None),
        queries=tuple(_query(check, item) for item in check.sequence(parts.get("queries"))),
        obligations=tuple(check.object(item) for item in check.sequence(parts.get("obligations"))),
    )


def _blocks(check: _Check, rule_id: str, name: str, node: Node | None) -> list[Node]:
    if node is not None and not isinstance(node.value, list):
        check.report(node, f"rule {rule_id}: {name} must be a list")
        return []
    return node.items if node is not None else []


def _expressions(check: _Check, rule_id: str, nodes: list[Node]) -> tuple[Node, ...]:
    for node in nodes:
        if not isinstance(node.value, dict):
            check.report(node, f"rule {rule_id}: expression must be an object")
    return tuple(node for node in nodes if isinstance(node.value, dict))


def _query(check: _Check, node: Node) -> tuple[str, str]:
    if not check.mapping(node, ("field", "question"), ()):
        return "", ""
    members = node.members
    return check.text(members.get("field"), least=0), check.text(members.get("question"), least=0)
