"""Plans, snapshots and requests as JSON-ready data and back, and their digests. Pure.

Numbers come back with the type that the field declares, because canonical JSON prints 1.0 as 1.
"""

from __future__ import annotations

import hashlib
import json
import types
import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from controller.plan.types import LiveState, Option, Plan, Request, Snapshot, TickState

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Return a frozen value of this package as dicts, lists and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Option | LiveState):
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value


def digest(value: Any) -> str:
    """Return `sha256:<hex>` of the plain form, keys sorted, shortest spelling of every number."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def from_plain(cls: type[T], data: Any) -> T:
    """Return the frozen data class that `plain` made `data` from.

    A field that is missing is its default. Raises TypeError where it has none, and TypeError or ValueError
    for a value of another type.
    """
    return _build(cls, data)


def plan_from_plain(data: Any) -> Plan:
    """Return the plan that `plain` made `data` from."""
    return _build(Plan, data)


def request_from_plain(data: Any) -> Request:
    """Return the request that `plain` made `data` from."""
    return _build(Request, data)


def snapshot_from_plain(data: Any, tick: TickState | None = None) -> Snapshot:
    """Return the snapshot that `plain` made `data` from; with `tick` one whose tick stands elsewhere."""
    if tick is None:
        return _build(Snapshot, data)
    hints = _hints(Snapshot)
    values = {name: _value(hints[name], data[name]) for name in _names(Snapshot) if name != "tick"}
    return Snapshot(tick=tick, **values)


def tick_from_plain(data: Any) -> TickState:
    """Return the tick state that `plain` made `data` from."""
    return _build(TickState, data)


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


@cache
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _build(cls: type[T], data: Any) -> T:
    declared: Any = cls
    hints = _hints(declared)
    # what an older record does not have yet is what it was then: the default
    return cls(**{name: _value(hints[name], data[name]) for name in _names(declared) if name in data})


def _value(hint: Any, data: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        if data is None:
            return None
        (inner,) = [arm for arm in typing.get_args(hint) if arm is not type(None)]
        return _value(inner, data)
    if origin is tuple:
        arms = typing.get_args(hint)
        if len(arms) == 2 and arms[1] is Ellipsis:
            return tuple(_value(arms[0], item) for item in data)
        return tuple(_value(arm, item) for arm, item in zip(arms, data, strict=True))
    if hint is Option or hint is LiveState:
        types_of = _hints(hint)
        return hint(**{name: _value(types_of[name], data[name]) for name in hint._fields})
    if is_dataclass(hint):
        return _build(typing.cast("type[Any]", hint), data)
    return hint(data)
