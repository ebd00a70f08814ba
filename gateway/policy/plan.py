"""What a policy comes to for one action type: its rules in order, what they need, what is required.

A plan is built once per action type when the policy is compiled, so that a decision looks up one
dictionary and walks only rules that can match. Plans hold no state and are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.kernel.canon import canonical_bytes
from gateway.kernel.types import JSON, JSONObject, Stage, Verdict
from gateway.policy.conditions import MEMORY_FIELD, Condition
from gateway.policy.operators import MATCHED_CHARS_MAX, FactView, Test

IMPLIED_REQUIREMENT: Final = "REQUIRED_EVIDENCE"
"""Rule id under which required evidence is enforced where the policy has no plain REQUIREMENTS rule."""
MISSING_EVIDENCE: Final = "MISSING_EVIDENCE"
PLAN_ENTRIES_MAX: Final = 200_000
"""Rules times action types: a policy of 1,000 rules over 100 action types has 100,000, in 2 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledRule:
    """One rule, ready to run. Compared by identity, so that a set of matched rules can be a key."""

    rule_id: str
    stage: Stage
    effect: Verdict
    reason_codes: tuple[str, ...]
    queries: tuple[tuple[str, str], ...]
    """(field, question) pairs."""
    obligations: tuple[JSONObject, ...]
    """With their `source` filled in."""
    requirement: bool
    """True for a REQUIREMENTS rule without conditions: it fires where required evidence is missing."""
    all_of: tuple[Condition, ...]
    any_of: tuple[tuple[Condition, ...], ...] | None
    test: Test | None
    """None where the rule has nothing to test."""
    words: str
    """How an explanation begins to speak of it."""
    row: bytes
    """Canonical bytes of its row in `matched_rules`."""
    obligation_rows: bytes
    """Canonical bytes of its obligations, joined by commas; empty if there are none."""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of the rule: object by object as written, in each by key."""
        return self.all_of + tuple(item for group in self.any_of or () for item in group)


@dataclass(frozen=True, slots=True)
class Need:
    """The type that one evidence value must have, because a rule compares it."""

    key: str
    """The evidence key, without `evidence.`."""
    classes: tuple[type, ...]
    accepts: Callable[[JSON], bool] | None
    """A further check on a value of these classes; None if there is none."""
    wanted: str
    """What people call the type: `a number`."""
    rule_id: str
    """The first rule that needs it."""


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """The rules that one action type can meet, in evaluation order, and what they ask of its facts."""

    before_trust: tuple[CompiledRule, ...]
    """REQUIREMENTS, HARD_BLOCKS and ESCALATIONS."""
    trust_paths: tuple[CompiledRule, ...]
    required: tuple[str, ...]
    """Evidence keys that must not be missing."""
    needs: tuple[Need, ...]
    amount_rule: str | None
    """The first rule that compares the amount in USD."""
    uses_memory: bool


def make_rule(
    *,
    rule_id: str,
    stage: Stage,
    effect: Verdict,
    reason_codes: Sequence[str],
    queries: Sequence[tuple[str, str]] = (),
    obligations: Sequence[JSONObject] = (),
    requirement: bool = False,
    all_of: Sequence[Condition] = (),
    any_of: Sequence[Sequence[Condition]] | None = None,
) -> CompiledRule:
    """Return a rule with its test and its canonical rows."""
    groups = None if any_of is None else tuple(tuple(group) for group in any_of)
    sourced = tuple(_with_source(item, rule_id, stage) for item in obligations)
    return CompiledRule(
        rule_id=rule_id,
        stage=stage,
        effect=effect,
        reason_codes=tuple(reason_codes),
        queries=tuple(queries),
        obligations=sourced,
        requirement=requirement,
        all_of=tuple(all_of),
        any_of=groups,
        test=_rule_test([condition.test for condition in all_of], groups),
        words=f"{stage} {rule_id} says {effect} ({', '.join(reason_codes)})",
        row=canonical_bytes(
            {"rule_id": rule_id, "stage": stage, "effect": effect, "reason_codes": list(reason_codes)}
        ),
        obligation_rows=canonical_bytes(list(sourced))[1:-1],
    )


def build_plan(rules: Sequence[CompiledRule], required: tuple[str, ...]) -> ActionPlan:
    """Return the plan of the rules that one action type can meet, given in evaluation order."""
    requirements = [rule for rule in rules if rule.stage is Stage.REQUIREMENTS]
    middle = [rule for rule in rules if rule.stage in {Stage.HARD_BLOCKS, Stage.ESCALATIONS}]
    if required and not any(rule.requirement for rule in requirements):
        requirements.append(_IMPLIED_RULE)
    return ActionPlan(
        before_trust=(*requirements, *middle),
        trust_paths=tuple(rule for rule in rules if rule.stage is Stage.TRUST_PATHS),
        required=required,
        needs=_needs(rules),
        amount_rule=next((rule.rule_id for rule in rules if _compares_amount(rule)), None),
        uses_memory=any(item.field == MEMORY_FIELD for rule in rules for item in rule.conditions),
    )


def _with_source(obligation: JSONObject, rule_id: str, stage: Stage) -> JSONObject:
    source = obligation.get("source")
    named = {"rule_id": rule_id, "stage": stage.value}
    return {**obligation, "source": {**named, **source} if isinstance(source, dict) else named}


def _rule_test(tests: list[Test], groups: tuple[tuple[Condition, ...], ...] | None) -> Test | None:
    if groups is None:
        return _conjunction(tests)
    alternatives = [_conjunction([condition.test for condition in group]) for group in groups]
    if not any(alternative is None for alternative in alternatives):
        tests = [*tests, _disjunction([item for item in alternatives if item is not None])]
    return _conjunction(tests)


def _conjunction(tests: list[Test]) -> Test | None:
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    among = tuple(tests)

    def every(facts: FactView) -> bool:
        for test in among:  # noqa: SIM110 - half the time of all() with a generator, and this is the hot path
            if not test(facts):
                return False
        return True

    return every


def _disjunction(tests: list[Test]) -> Test:
    among = tuple(tests)
    return lambda facts: any(test(facts) for test in among)


def _compares_amount(rule: CompiledRule) -> bool:
    return any("amount" in condition.expects for condition in rule.conditions)


def _is_whole(value: JSON) -> bool:
    return value.__class__ is int or bool(value.is_integer())


def _is_positive(value: JSON) -> bool:
    return bool(value > 0)


def _is_short(value: JSON) -> bool:
    return len(value) <= MATCHED_CHARS_MAX


_KINDS: Final[Mapping[str, tuple[tuple[type, ...], Callable[[JSON], bool] | None, str]]] = {
    "boolean": ((bool,), None, "true or false"),
    "integer": ((int, float), _is_whole, "a whole number"),
    "number": ((int, float), None, "a number"),
    "pattern_text": ((str,), _is_short, f"text of at most {MATCHED_CHARS_MAX} characters"),
    "rate": ((int, float), _is_positive, "a number above 0"),
    "text": ((str,), None, "text"),
}


def _needs(rules: Sequence[CompiledRule]) -> tuple[Need, ...]:
    """Return one need per field and type, in the order in which the rules come to them."""
    needs: dict[tuple[str, frozenset[str]], Need] = {}
    for rule in rules:
        for condition in rule.conditions:
            key = condition.field.removeprefix("evidence.")
            kinds = condition.expects
            typed = kinds and condition.field not in {key, MEMORY_FIELD}
            if typed and (key, kinds) not in needs:
                needs[key, kinds] = _need(key, kinds, rule.rule_id)
    return tuple(needs.values())


def _need(key: str, kinds: frozenset[str], rule_id: str) -> Need:
    named = [_KINDS[kind] for kind in sorted(kinds)]
    classes = tuple(item for classes, _, _ in named for item in classes)
    # Only a comparison with a list of mixed scalars has several kinds, and those have no further check.
    accepts = named[0][1] if len(named) == 1 else None
    return Need(key, classes, accepts, " or ".join(words for _, _, words in named), rule_id)


_IMPLIED_RULE: Final = make_rule(
    rule_id=IMPLIED_REQUIREMENT,
    stage=Stage.REQUIREMENTS,
    effect=Verdict.QUERY,
    reason_codes=(MISSING_EVIDENCE,),
    requirement=True,
)
