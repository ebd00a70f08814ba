"""Why, in words: one line for each rule, each fault and what memory said.

The words follow from the record's own inputs, so that a replay writes the same ones.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import Final

from gateway.engine.evaluate import Evaluation
from gateway.engine.facts import Facts, number_text
from gateway.kernel.amounts import decimal_text
from gateway.kernel.types import JSON, Mode
from gateway.memory.types import MemoryAdvice
from gateway.policy.conditions import Condition
from gateway.policy.plan import CompiledRule

DETAILS_MAX: Final = 50
"""Lines; a record is read by people, and a policy that matches more often than this has other problems."""
VALUE_CHARS_MAX: Final = 64
"""Characters of a value in a line: enough to recognise an id."""

_WORDS: Final = {
    "is": "is",
    "ne": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "gt": "is above",
    "gte": "is at least",
    "lt": "is below",
    "lte": "is at most",
    "matches": "matches",
    "any": "has one of",
    "all": "has all of",
}


def details(
    evaluation: Evaluation, facts: Facts, advice: MemoryAdvice, *, mode: Mode, asked: str | None
) -> list[str]:
    """Return a line for each matched rule, each fault and what else bore on the verdict.

    `asked` is the mode that the request asked for.
    """
    lines = [_rule_line(rule, evaluation, facts) for rule in evaluation.matched[:DETAILS_MAX]]
    lines += [f"{fault.message}: this keeps the verdict from being TRUST" for fault in evaluation.faults]
    if advice.hits or advice.failure_score:
        score, count = number_text(advice.failure_score), len(advice.hits)
        outcomes = "1 similar outcome" if count == 1 else f"{count} similar outcomes"
        lines.append(f"memory holds {outcomes}, the nearest failure at {score}")
    if mode is Mode.ADVISORY:
        lines.append("the mode is advisory: the verdict is recorded and does not hold the action")
    elif asked == Mode.ADVISORY:
        lines.append("the request asked for advisory mode, which the configuration does not allow")
    if len(lines) > DETAILS_MAX:
        lines[DETAILS_MAX - 1 :] = [f"and {len(lines) - DETAILS_MAX + 1} more"]
    return lines


def _rule_line(rule: CompiledRule, evaluation: Evaluation, facts: Facts) -> str:
    head = rule.words
    if rule.requirement:
        return f"{head}: missing {', '.join(evaluation.missing)}"
    if rule.test is None:
        return head
    held = [_condition_words(item, facts) for item in rule.all_of]
    held += [
        _condition_words(item, facts) for group in rule.any_of or () for item in group if item.test(facts)
    ]
    return f"{head}: {' and '.join(held)}"


def _condition_words(condition: Condition, facts: Facts) -> str:
    if condition.operator == "present":
        return f"{condition.field} is {'present' if condition.operand else 'missing'}"
    if condition.operator == "is":
        return f"{condition.field} {_limit_words(condition)}"
    return f"{condition.field} {_shown(condition.read(facts))} {_limit_words(condition)}"


@lru_cache(maxsize=4096)
def _limit_words(condition: Condition) -> str:
    words = f"{_WORDS[condition.operator]} {_shown(condition.operand)}"
    return words if condition.threshold is None else f"{words} ({condition.threshold})"


def _shown(value: JSON) -> str:
    if isinstance(value, Decimal):
        return decimal_text(value)
    if value is None:
        return "(missing)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _cut(number_text(value))
    if isinstance(value, list):
        return _cut(f"[{', '.join(_shown(item) for item in value[:8])}{', ...' if len(value) > 8 else ''}]")
    if isinstance(value, dict):
        return "(a mapping)"
    return _cut(f"`{value}`" if value else "(empty)")


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[: VALUE_CHARS_MAX - 3]}..."
