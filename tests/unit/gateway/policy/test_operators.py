"""What the operators take and do; the cases of each stand in `vectors/v0/operators.json`."""

from __future__ import annotations

from decimal import Decimal
from time import perf_counter

import pytest

from gateway.engine.facts import derive
from gateway.policy.conditions import compile_condition
from gateway.policy.operators import (
    MATCHED_CHARS_MAX,
    PATTERN_CHARS_MAX,
    ConditionError,
    as_decimal,
    is_missing,
    json_equality,
)


def holds(key: str, operand: object, evidence: dict) -> bool:
    """Compile one condition and test it on this evidence."""
    request = {
        "action": {"type": "demo.act", "intent": "x"},
        "subject": {"type": "agent", "id": "s"},
        "evidence": evidence,
    }
    return compile_condition(key, operand, {}).test(derive(request, 0.0))


@pytest.mark.parametrize("value", [None, "", " \n\t", []])
def test_blank_values_are_missing(value: object) -> None:
    """Null, blank text and the empty list are missing (part A 6)."""
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, False, "x", {}, [None], 0.0])
def test_falsy_values_are_not_missing(value: object) -> None:
    """Zero, false and the empty mapping say something."""
    assert not is_missing(value)


def test_equality_is_that_of_json() -> None:
    """1.0 is 1, and true is neither 1 nor `true` in quotes."""
    among = json_equality([1, "a", True])
    assert [among(value) for value in (1, 1.0, True, "a")] == [True] * 4
    assert [among(value) for value in (False, "1", "true", None, [1], {})] == [False] * 6
    assert json_equality([True])(1) is False
    assert json_equality([1])(True) is False


def test_decimals_are_those_of_the_text() -> None:
    """A limit is the decimal one reads, not the double behind it."""
    assert as_decimal(0.1) == Decimal("0.1")
    assert as_decimal(25) == Decimal(25)


BAD_PATTERNS = [
    "(a+)+$",
    "(a|a)*b",
    "(a|aa)+$",
    "(a*)*c",
    "(.*a){20}",
    "(x+x+)+y",
    "([a-z]+)*[0-9]",
    "a{1,200}{1,5}b",
    ".*.*.*=.*",
    "(?:a?){200}a{200}",
    "(a{0,30}){0,30}b",
    "((a{1,100}){1,100}){1,100}",
    "[\\pL]{1,500}$",
    "\\bfoo.{0,50}bar\\b",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(?i)(A+B?)+C",
    "(a?){64}(a){64}b",
    "(.|\\n)*x(.|\\n)*y",
    "(\\s*a\\s*)*;",
    "(?:(?:a|b|ab)*)*z",
    ".*a.{200}b",
    "(é|a|.)*ü",
]


@pytest.mark.parametrize("pattern", BAD_PATTERNS)
def test_patterns_take_linear_time(pattern: str) -> None:
    """Patterns that make backtracking explode answer within 20 ms on the longest text, or are refused."""
    try:
        condition = compile_condition("evidence.k_matches", pattern, {})
    except ConditionError:
        return
    request = {
        "action": {"type": "demo.act", "intent": "x"},
        "subject": {"type": "agent", "id": "s"},
        "evidence": {"k": ("a" * 60 + "é ab") * (MATCHED_CHARS_MAX // 64)},
    }
    facts = derive(request, 0.0)
    taken_s = []
    for _ in range(5):
        start = perf_counter()
        condition.test(facts)
        taken_s.append(perf_counter() - start)
    assert min(taken_s) < 0.02


def test_text_over_the_bound_is_not_matched() -> None:
    """A pattern looks at 64 Ki characters and holds for nothing longer."""
    assert holds("evidence.k_matches", "a", {"k": "a" * MATCHED_CHARS_MAX})
    assert not holds("evidence.k_matches", "a", {"k": "a" * (MATCHED_CHARS_MAX + 1)})


def test_patterns_have_a_longest() -> None:
    """A pattern of the greatest length compiles, one character more is refused."""
    assert holds("evidence.k_matches", "a" * PATTERN_CHARS_MAX, {"k": "a" * PATTERN_CHARS_MAX})
    with pytest.raises(ConditionError, match="1001 characters"):
        compile_condition("evidence.k_matches", "a" * (PATTERN_CHARS_MAX + 1), {})


@pytest.mark.parametrize("rate", [0, -1, "1", True, None, [1]])
def test_a_rate_that_is_none_satisfies_nothing(rate: object) -> None:
    """No comparison holds for a rate that cannot be used, and `_present` calls it missing."""
    assert not holds("evidence.fx_rate_to_usd_lt", 10, {"fx_rate_to_usd": rate})
    assert not holds("evidence.fx_rate_to_usd_gte", -10, {"fx_rate_to_usd": rate})
    assert holds("evidence.fx_rate_to_usd_present", False, {"fx_rate_to_usd": rate})
