"""Whether conditions that must hold together ever can: intervals, sets of values, presence.

Exact about what it calls a contradiction, and silent about what it cannot tell (patterns are not
compared with each other). Amounts and numbers are compared as decimals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from gateway.kernel.types import JSON
from gateway.policy.conditions import Condition
from gateway.policy.operators import as_decimal, is_missing, json_equality


def contradiction(conditions: Iterable[Condition]) -> str | None:
    """Return the field that conditions ask two things of that cannot both be, or None."""
    about: dict[str, list[Condition]] = {}
    for condition in conditions:
        about.setdefault(condition.field, []).append(condition)
    for name, group in about.items():
        if not _possible(group):
            return name
    return None


@dataclass(slots=True)
class _Bounds:
    """What numeric conditions leave of the number line."""

    above: list[tuple[Decimal, bool]] = field(default_factory=list)
    below: list[tuple[Decimal, bool]] = field(default_factory=list)

    def holds(self, value: Decimal) -> bool:
        over = all(value > limit or (inclusive and value == limit) for limit, inclusive in self.above)
        under = all(value < limit or (inclusive and value == limit) for limit, inclusive in self.below)
        return over and under

    def empty(self) -> bool:
        if not self.above or not self.below:
            return False
        low, high = max(limit for limit, _ in self.above), min(limit for limit, _ in self.below)
        return low > high or (low == high and not self.holds(low))


def _possible(group: Sequence[Condition]) -> bool:
    bounds = _bounds(group)
    if bounds.empty():
        return False
    must_be_missing = any(item.operator == "present" and item.operand is False for item in group)
    must_be_there = any(item.operator == "present" and item.operand is True for item in group)
    # `_present` of the rate judges whether it is usable, so a rate of the wrong type is "missing".
    if must_be_missing and (must_be_there or any(_needs_value(item) for item in group)):
        return False
    candidates = _candidates(group)
    return candidates is None or any(_fits(value, group, bounds) for value in candidates)


def _bounds(group: Sequence[Condition]) -> _Bounds:
    bounds = _Bounds()
    for item in group:
        if item.operator in {"gt", "gte"}:
            bounds.above.append((as_decimal(item.operand), item.operator == "gte"))
        elif item.operator in {"lt", "lte"}:
            bounds.below.append((as_decimal(item.operand), item.operator == "lte"))
    return bounds


def _needs_value(item: Condition) -> bool:
    """Tell whether a condition is false for every missing value: null, blank text, the empty list."""
    if item.operator in {"gt", "gte", "lt", "lte", "any", "all"}:
        return True
    if item.operator in {"is", "in"}:
        return not any(is_missing(value) for value in _values(item))
    return False


def _values(item: Condition) -> list[JSON]:
    return item.operand if item.operator in {"in", "not_in"} else [item.operand]


def _candidates(group: Sequence[Condition]) -> list[JSON] | None:
    """Return the only values the fact may have; None where nothing limits it to some."""
    limited = [_values(item) for item in group if item.operator in {"is", "in"}]
    return min(limited, key=len) if limited else None


def _fits(value: JSON, group: Sequence[Condition], bounds: _Bounds) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (bounds.above or bounds.below) and not (number and bounds.holds(as_decimal(value))):
        return False
    for item in group:
        among = json_equality(_values(item))
        if item.operator in {"is", "in"} and not among(value):
            return False
        # No currency is "not USD" (contract 1.6); any other missing fact is neither.
        nothing = value is None and item.field != "amount_currency"
        if item.operator in {"ne", "not_in"} and (nothing or among(value)):
            return False
        if item.operator == "present" and is_missing(value) is item.operand:
            return False
    return True
