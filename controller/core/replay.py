"""Replay: make a stored plan again from its stored request and snapshot, and compare. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controller.plan import (
    Plan,
    digest,
    make_plan,
    plain,
    request_from_plain,
    snapshot_from_plain,
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The plan made anew, and the names of the fields in which it differs from the stored one."""

    plan: Plan
    differs: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Tell whether every bit is the same."""
        return not self.differs


def replay(request: Any, snapshot: Any, stored_plan: Any) -> Replayed:
    """Re-derive a plan from plain data (as `plain` made it) and compare it with the stored one."""
    plan = make_plan(request_from_plain(request), snapshot_from_plain(snapshot))
    fresh = plain(plan)
    differs = tuple(name for name in fresh if _spelt(fresh[name]) != _spelt(_known(stored_plan, name)))
    return Replayed(plan, differs)


def _spelt(value: Any) -> str:
    return digest(_integral(value))


def _integral(value: Any) -> Any:
    # a record is canonical JSON (RFC 8785), which prints 1.0 as 1
    if isinstance(value, dict):
        return {name: _integral(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _known(stored: Any, name: str) -> Any:
    # a field that is missing in the record differs from every value
    return stored.get(name, {"missing": name})
