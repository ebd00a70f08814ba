"""What the operators of conditions take and do: each makes a test, a closure over its checked operand.

A test never raises and never looks further than the facts. A fact that is missing or has the wrong type
makes it false; the exceptions are `_present: false`, a null operand and `amount_currency_ne`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias

import re2

from gateway.kernel.types import JSON
from gateway.policy.shape import kind

PATTERN_CHARS_MAX: Final = 1_000
"""RE2 compiles a pattern of this length in well under a millisecond; longer ones are lists: use `_in`."""
PATTERN_MEMORY_BYTES_MAX: Final = 1024 * 1024
"""For one compiled pattern; `(\\w{1,100}){1,10}` needs 600 KiB, counted repetitions beyond it are refused."""
MATCHED_CHARS_MAX: Final = 64 * 1024
"""Text that a pattern looks at: RE2 is linear, so this bounds a match to a few milliseconds."""


class FactView(Protocol):
    """What a test may read: the engine's facts about one request."""

    @property
    def evidence(self) -> Mapping[str, JSON]:
        """The request's evidence, flat."""
        ...

    @property
    def target(self) -> Mapping[str, JSON]:
        """`action.target`."""
        ...

    @property
    def subject(self) -> Mapping[str, JSON]:
        """`subject`."""
        ...

    @property
    def tags(self) -> Sequence[JSON]:
        """`action.tags`."""
        ...

    @property
    def roles(self) -> Sequence[JSON]:
        """`subject.roles`."""
        ...

    @property
    def amount_usd(self) -> Decimal | None:
        """None where it cannot be had."""
        ...

    @property
    def amount_currency(self) -> str | None:
        """As sent."""
        ...

    @property
    def fx_rate_present(self) -> bool:
        """True for a rate above 0."""
        ...

    @property
    def failure_score(self) -> float:
        """What experience memory says."""
        ...


Test: TypeAlias = Callable[[FactView], bool]
Read: TypeAlias = Callable[[FactView], JSON]


class ConditionError(Exception):
    """A key that is unknown, or an operand of the wrong type. Never leaves `gateway.policy`."""

    def __init__(self, message: str, *, at_key: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.at_key = at_key


def is_missing(value: JSON) -> bool:
    """True for null, blank text and the empty list: what required evidence may not be (part A 6)."""
    if value.__class__ is str:
        return not value or value.isspace()
    return value is None or (value.__class__ is list and not value)


def as_decimal(number: float) -> Decimal:
    """Return a document's number as the exact decimal of its canonical text."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


NUMERIC: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _number(key: str, operand: JSON) -> float:
    if operand.__class__ not in {int, float}:
        raise ConditionError(f"`{key}` takes a number, not {kind(operand)}")
    number: float = operand
    return number


def _texts(key: str, operand: JSON) -> list[str]:
    if not isinstance(operand, list) or not operand or not all(isinstance(item, str) for item in operand):
        raise ConditionError(f"`{key}` takes a list of text with at least one item")
    return operand


def _flag(key: str, operand: JSON) -> bool:
    if not isinstance(operand, bool):
        raise ConditionError(f"`{key}` takes true or false, not {kind(operand)}")
    return operand


def amount_test(key: str, suffix: str, operand: JSON) -> Test:
    """Return the test of the amount in USD against a limit: exact, in decimals."""
    limit = as_decimal(_number(key, operand))
    compare = NUMERIC[suffix]

    def test(facts: FactView) -> bool:
        amount = facts.amount_usd
        return amount is not None and compare(amount, limit)

    return test


def currency_test(key: str, suffix: str, operand: JSON) -> Test:
    """Return the test of the currency; no currency is "not USD" (contract 1.6)."""
    if operand is not None and not isinstance(operand, str):
        raise ConditionError(f"`{key}` takes text or null, not {kind(operand)}")
    if suffix == "is":
        return lambda facts: bool(facts.amount_currency == operand)
    return lambda facts: bool(facts.amount_currency != operand)


def set_test(key: str, read: Read, suffix: str, operand: JSON) -> Test:
    """Return the test of a list of text for any or all of the operand's items."""
    wanted = _texts(key, operand)
    if suffix == "any":
        return lambda facts: any(item in read(facts) for item in wanted)
    return lambda facts: all(item in read(facts) for item in wanted)


def rate_present_test(key: str, operand: JSON) -> Test:
    """Return the test of whether there is a usable exchange rate."""
    wanted = _flag(key, operand)
    return lambda facts: facts.fx_rate_present is wanted


Compiled: TypeAlias = tuple[frozenset[str], Test]
_CLASSES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "number": (int, float),
    "boolean": (bool,),
}


def _kinds(key: str, values: Sequence[JSON]) -> frozenset[str]:
    kinds: set[str] = set()
    for value in values:
        found = [name for name, classes in _CLASSES.items() if value.__class__ in classes]
        if not found and value is not None:
            raise ConditionError(
                f"`{key}` compares with text, numbers, true, false or null, not {kind(value)}"
            )
        kinds.update(found)
    return frozenset(kinds)


def _classes(kinds: frozenset[str]) -> frozenset[type]:
    return frozenset(item for name in kinds for item in _CLASSES[name])


def json_equality(values: Sequence[JSON]) -> Callable[[JSON], bool]:
    """Return the test for being one of `values` as JSON: true is not 1, 1.0 is 1."""
    # A set alone would take True for 1, so each type has its own.
    by_class = {
        cls: frozenset(value for value in values if value.__class__ in classes)
        for classes in _CLASSES.values()
        for cls in classes
    }
    null = None in values

    def equal(value: JSON) -> bool:
        if value is None:
            return null
        among = by_class.get(value.__class__)
        return among is not None and value in among

    return equal


def _compile_in(key: str, read: Read, operand: JSON) -> Compiled:
    if not isinstance(operand, list):
        raise ConditionError(f"`{key}` takes a list, not {kind(operand)}")
    kinds, equal = _kinds(key, operand), json_equality(operand)
    return kinds, lambda facts: equal(read(facts))


def _compile_not_in(key: str, read: Read, operand: JSON) -> Compiled:
    if not isinstance(operand, list):
        raise ConditionError(f"`{key}` takes a list, not {kind(operand)}")
    kinds, equal = _kinds(key, operand), json_equality(operand)
    classes = _classes(kinds)

    def test(facts: FactView) -> bool:
        value = read(facts)
        return value is not None and (not classes or value.__class__ in classes) and not equal(value)

    return kinds, test


def _compile_is(key: str, read: Read, operand: JSON) -> Compiled:
    return _compile_in(key, read, [operand])


def _compile_ne(key: str, read: Read, operand: JSON) -> Compiled:
    return _compile_not_in(key, read, [operand])


def _compile_present(key: str, read: Read, operand: JSON) -> Compiled:
    wanted = _flag(key, operand)
    return frozenset(), lambda facts: is_missing(read(facts)) is not wanted


def _compile_matches(key: str, read: Read, operand: JSON) -> Compiled:
    if not isinstance(operand, str):
        raise ConditionError(f"`{key}` takes a pattern as text, not {kind(operand)}")
    if len(operand) > PATTERN_CHARS_MAX:
        raise ConditionError(
            f"`{key}` has a pattern of {len(operand)} characters, at most {PATTERN_CHARS_MAX}"
        )
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.log_errors = False
    # Without groups to fill, RE2 stays in its automaton: `(.*a){20}` over 64 KiB takes 1 ms, not 100.
    options.never_capture = True
    try:
        search = re2.compile(operand, options=options).search  # type: ignore[no-untyped-call]
    except re2.error as error:
        raise ConditionError(f"`{key}` has a pattern that RE2 refuses: {_reason(error)}") from None

    def test(facts: FactView) -> bool:
        value = read(facts)
        return value.__class__ is str and len(value) <= MATCHED_CHARS_MAX and search(value) is not None

    return frozenset({"pattern_text"}), test


def _reason(error: Exception) -> str:
    argument = error.args[0] if error.args else error
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(argument)


def rate_test(key: str, suffix: str, read: Read, operand: JSON) -> Test:
    """Return the test of a usable exchange rate against a limit."""
    limit, compare = _number(key, operand), NUMERIC[suffix]
    return lambda facts: facts.fx_rate_present and compare(read(facts), limit)


def number_test(key: str, suffix: str, read: Read, operand: JSON) -> Test:
    """Return the test of a number against a limit."""
    limit, compare = _number(key, operand), NUMERIC[suffix]

    def test(facts: FactView) -> bool:
        value = read(facts)
        return (value.__class__ is float or value.__class__ is int) and compare(value, limit)

    return test


def integer_test(key: str, suffix: str, read: Read, operand: JSON) -> Test:
    """Return the test of a whole number against a limit; 5.0 is whole."""
    limit, compare = _number(key, operand), NUMERIC[suffix]
    if limit != int(limit):
        raise ConditionError(f"`{key}` takes a whole number")

    def test(facts: FactView) -> bool:
        value = read(facts)
        whole = value.__class__ is int or (value.__class__ is float and value.is_integer())
        return whole and compare(value, limit)

    return test


OPERATORS: Final[dict[str, Callable[[str, Read, JSON], Compiled]]] = {
    "is": _compile_is,
    "ne": _compile_ne,
    "in": _compile_in,
    "not_in": _compile_not_in,
    "present": _compile_present,
    "matches": _compile_matches,
}
"""By operator: given key, reader and operand, the types that a present fact must have and the test."""
