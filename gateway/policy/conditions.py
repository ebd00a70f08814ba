"""Condition keys: what each one reads, and the operator and operand that make its test.

Which type a fact should have stands in `expects`, so that the engine reports a wrong one whether or not
the test was reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.kernel.types import JSON
from gateway.policy.operators import (
    NUMERIC,
    OPERATORS,
    Compiled,
    ConditionError,
    Read,
    Test,
    amount_test,
    currency_test,
    integer_test,
    number_test,
    rate_present_test,
    rate_test,
    set_test,
)

THRESHOLD_PREFIX: Final = "thresholds."
MEMORY_FIELD: Final = "evidence.failure_similarity_score"
"""Answered by experience memory; what a caller sends under this name is ignored."""
RATE_FIELD: Final = "evidence.fx_rate_to_usd"
INTEGER_FIELDS: Final = frozenset({"evidence.previous_refund_count_90d", "evidence.customer_age_days"})
"""Counts: a number with a fraction is of the wrong type for them (contract 1.6)."""


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One compiled condition; compared by identity."""

    key: str
    """As written in the policy."""
    field: str
    """What it reads: `evidence.<key>`, `amount_usd`, `subject.id`, ..."""
    operator: str
    operand: JSON
    """With thresholds resolved."""
    threshold: str | None
    """The name of the threshold that the operand refers to."""
    expects: frozenset[str]
    """Types that a present fact must have: number, integer, rate, boolean, text, pattern_text, amount."""
    read: Read
    test: Test


def compile_condition(key: str, operand: JSON, thresholds: Mapping[str, JSON]) -> Condition:
    """Return the condition of one key and operand. Raises `ConditionError`."""
    threshold = None
    if isinstance(operand, str) and operand.startswith(THRESHOLD_PREFIX):
        threshold = operand.removeprefix(THRESHOLD_PREFIX)
        if threshold not in thresholds:
            raise ConditionError(f"`{key}` refers to an unknown threshold `{threshold}`")
        operand = thresholds[threshold]
    fact, suffix = split_key(key)
    read = _reader(fact)
    if fact == "amount_usd":
        expects, test = frozenset({"amount"}), amount_test(key, suffix, operand)
    elif fact == "amount_currency":
        expects, test = frozenset[str](), currency_test(key, suffix, operand)
    elif suffix in {"any", "all"}:
        expects, test = frozenset[str](), set_test(key, read, suffix, operand)
    elif fact == RATE_FIELD and suffix == "present":
        expects, test = frozenset({"rate"}), rate_present_test(key, operand)
    elif suffix in NUMERIC:
        expects, test = _comparison(key, fact, suffix, read, operand)
    else:
        expects, test = OPERATORS[suffix](key, read, operand)
    return Condition(key, fact, suffix, operand, threshold, expects, read, test)


def _comparison(key: str, fact: str, suffix: str, read: Read, operand: JSON) -> Compiled:
    if fact in INTEGER_FIELDS:
        return frozenset({"integer"}), integer_test(key, suffix, read, operand)
    if fact == RATE_FIELD:
        return frozenset({"rate"}), rate_test(key, suffix, read, operand)
    return frozenset({"number"}), number_test(key, suffix, read, operand)


def split_key(key: str) -> tuple[str, str]:
    """Return what a condition key reads and its operator. Raises `ConditionError` for an unknown key."""
    if key in _FIXED:
        return _FIXED[key]
    for suffix in _SUFFIXES:
        fact = key.removesuffix(f"_{suffix}")
        if fact == key:
            continue
        if fact.startswith("evidence.") and len(fact) > len("evidence."):
            return fact, suffix
        if fact in _TEXT_FIELDS:
            if suffix in NUMERIC:
                raise ConditionError(f"`{fact}` is text: `_{suffix}` compares numbers", at_key=True)
            return fact, suffix
    raise ConditionError(f"unsupported condition key: {key}", at_key=True)


_SUFFIXES: Final = ("not_in", "present", "matches", "gte", "lte", "is", "ne", "in", "gt", "lt")
_FIXED: Final = {
    **{f"amount_usd_{suffix}": ("amount_usd", suffix) for suffix in NUMERIC},
    "amount_currency_is": ("amount_currency", "is"),
    "amount_currency_ne": ("amount_currency", "ne"),
    "tags_any": ("tags", "any"),
    "tags_all": ("tags", "all"),
    "subject.roles_any": ("subject.roles", "any"),
    "subject.roles_all": ("subject.roles", "all"),
}
_TEXT_FIELDS: Final = frozenset(
    {f"action.target.{name}" for name in ("system", "resource_type", "resource_id")}
    | {f"subject.{name}" for name in ("type", "id", "tenant_id", "ip", "user_agent")}
)
_FACT_READERS: Final[dict[str, Read]] = {
    "amount_usd": lambda facts: facts.amount_usd,
    "amount_currency": lambda facts: facts.amount_currency,
    "tags": lambda facts: facts.tags,
    "subject.roles": lambda facts: facts.roles,
    MEMORY_FIELD: lambda facts: facts.failure_score,
}


def _reader(fact: str) -> Read:
    if fact in _FACT_READERS:
        return _FACT_READERS[fact]
    place, _, name = fact.rpartition(".") if not fact.startswith("evidence.") else fact.partition(".")
    if place == "evidence":
        return lambda facts: facts.evidence.get(name)
    if place == "subject":
        return lambda facts: facts.subject.get(name)
    return lambda facts: facts.target.get(name)
