"""Condition keys: what each one reads, which operand it takes, and the test it compiles to.

A condition is compiled once, to a closure over its operand; a test never raises and never looks
further than the facts. A fact that is missing or has the wrong type makes the test false (the two
that see a missing fact are `_present: false` and a null operand, and `amount_currency_ne` keeps the
contract's word that no currency is "not USD"). What type a fact should have stands in `expects`, so
that the engine reports a wrong one whether or not the test was reached.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
THRESHOLD_PREFIX: Final = "thresholds."
MEMORY_FIELD: Final = "evidence.failure_similarity_score"
"""Answered by experience memory; what a caller sends under this name is ignored."""
RATE_FIELD: Final = "evidence.fx_rate_to_usd"
INTEGER_FIELDS: Final = frozenset({"evidence.previous_refund_count_90d", "evidence.customer_age_days"})
"""Counts: a number with a fraction is of the wrong type for them (contract 1.6)."""


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


class ConditionError(Exception):
    """A key that is unknown, or an operand of the wrong type. Never leaves `gateway.policy`."""

    def __init__(self, message: str, *, at_key: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.at_key = at_key


def compile_condition(key: str, operand: JSON, thresholds: Mapping[str, JSON]) -> Condition:
    """Return the condition of one key and operand. Raises `ConditionError`."""
    threshold = None
    if isinstance(operand, str) and operand.startswith(THRESHOLD_PREFIX):
        threshold = operand.removeprefix(THRESHOLD_PREFIX)
        if threshold not in thresholds:
            raise ConditionError(f"`{key}` refers to an unknown threshold `{threshold}`")
        operand = thresholds[threshold]
    fact, suffix = split_key(key)
    if fact == "amount_usd":
        expects, test = frozenset({"amount"}), _amount_test(key, suffix, operand)
    elif fact == "amount_currency":
        expects, test = frozenset[str](), _currency_test(key, suffix, operand)
    elif suffix in {"any", "all"}:
        expects, test = frozenset[str](), _set_test(key, fact, suffix, operand)
    elif fact == RATE_FIELD and suffix == "present":
        expects, test = frozenset({"rate"}), _rate_present_test(key, operand)
    elif suffix in _NUMERIC:
        expects, test = _compile_numeric(key, fact, suffix, operand)
    else:
        expects, test = _OPERATORS[suffix](key, _reader(fact), operand)
    return Condition(key, fact, suffix, operand, threshold, expects, _reader(fact), test)


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
            if suffix in _NUMERIC:
                raise ConditionError(f"`{fact}` is text: `_{suffix}` compares numbers", at_key=True)
            return fact, suffix
    raise ConditionError(f"unsupported condition key: {key}", at_key=True)


def is_missing(value: JSON) -> bool:
    """True for null, blank text and the empty list: what required evidence may not be (part A 6)."""
    if value.__class__ is str:
        return not value or value.isspace()
    return value is None or (value.__class__ is list and not value)


def as_decimal(number: float) -> Decimal:
    """Return a document's number as the exact decimal of its canonical text."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


_SUFFIXES: Final = ("not_in", "present", "matches", "gte", "lte", "is", "ne", "in", "gt", "lt")
_NUMERIC: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_FIXED: Final = {
    **{f"amount_usd_{suffix}": ("amount_usd", suffix) for suffix in _NUMERIC},
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


def _amount_test(key: str, suffix: str, operand: JSON) -> Test:
    limit = as_decimal(_number(key, operand))
    compare = _NUMERIC[suffix]

    def test(facts: FactView) -> bool:
        amount = facts.amount_usd
        return amount is not None and compare(amount, limit)

    return test


def _currency_test(key: str, suffix: str, operand: JSON) -> Test:
    if operand is not None and not isinstance(operand, str):
        raise ConditionError(f"`{key}` takes text or null, not {kind(operand)}")
    if suffix == "is":
        return lambda facts: bool(facts.amount_currency == operand)
    return lambda facts: bool(facts.amount_currency != operand)


def _set_test(key: str, fact: str, suffix: str, operand: JSON) -> Test:
    wanted = _texts(key, operand)
    read = _FACT_READERS[fact]
    if suffix == "any":
        return lambda facts: any(item in read(facts) for item in wanted)
    return lambda facts: all(item in read(facts) for item in wanted)


def _rate_present_test(key: str, operand: JSON) -> Test:
    wanted = _flag(key, operand)
    return lambda facts: facts.fx_rate_present is wanted


_Compiled: TypeAlias = tuple[frozenset[str], Test]
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


def _compile_in(key: str, read: Read, operand: JSON) -> _Compiled:
    if not isinstance(operand, list):
        raise ConditionError(f"`{key}` takes a list, not {kind(operand)}")
    kinds, equal = _kinds(key, operand), json_equality(operand)
    return kinds, lambda facts: equal(read(facts))


def _compile_not_in(key: str, read: Read, operand: JSON) -> _Compiled:
    if not isinstance(operand, list):
        raise ConditionError(f"`{key}` takes a list, not {kind(operand)}")
    kinds, equal = _kinds(key, operand), json_equality(operand)
    classes = _classes(kinds)

    def test(facts: FactView) -> bool:
        value = read(facts)
        return value is not None and (not classes or value.__class__ in classes) and not equal(value)

    return kinds, test


def _compile_is(key: str, read: Read, operand: JSON) -> _Compiled:
    return _compile_in(key, read, [operand])


def _compile_ne(key: str, read: Read, operand: JSON) -> _Compiled:
    return _compile_not_in(key, read, [operand])


def _compile_present(key: str, read: Read, operand: JSON) -> _Compiled:
    wanted = _flag(key, operand)
    return frozenset(), lambda facts: is_missing(read(facts)) is not wanted


def _compile_matches(key: str, read: Read, operand: JSON) -> _Compiled:
    if not isinstance(operand, str):
        raise ConditionError(f"`{key}` takes a pattern as text, not {kind(operand)}")
    if len(operand) > PATTERN_CHARS_MAX:
        raise ConditionError(
            f"`{key}` has a pattern of {len(operand)} characters, at most {PATTERN_CHARS_MAX}"
        )
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.log_errors = False
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


def _compile_numeric(key: str, fact: str, suffix: str, operand: JSON) -> _Compiled:
    limit, compare, read = _number(key, operand), _NUMERIC[suffix], _reader(fact)
    if fact in INTEGER_FIELDS:
        return frozenset({"integer"}), _integer_test(key, read, limit, compare)
    if fact == RATE_FIELD:
        return frozenset({"rate"}), lambda facts: facts.fx_rate_present and compare(read(facts), limit)

    def test(facts: FactView) -> bool:
        value = read(facts)
        return (value.__class__ is float or value.__class__ is int) and compare(value, limit)

    return frozenset({"number"}), test


def _integer_test(key: str, read: Read, limit: float, compare: Callable[[Any, Any], bool]) -> Test:
    if limit != int(limit):
        raise ConditionError(f"`{key}` takes a whole number")

    def test(facts: FactView) -> bool:
        value = read(facts)
        whole = value.__class__ is int or (value.__class__ is float and value.is_integer())
        return whole and compare(value, limit)

    return test


_OPERATORS: Final[dict[str, Callable[[str, Read, JSON], _Compiled]]] = {
    "is": _compile_is,
    "ne": _compile_ne,
    "in": _compile_in,
    "not_in": _compile_not_in,
    "present": _compile_present,
    "matches": _compile_matches,
}
