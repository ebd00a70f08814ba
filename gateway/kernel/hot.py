"""Dataclasses of the request path: frozen to the type checker, plain when they run.

A frozen dataclass sets each field through `object.__setattr__`: six times the price of an assignment, and a
request makes a dozen of them. mypy, which every change passes, refuses an assignment to these as to any
frozen class. What is promised to the outside (records, the judged bytes) stays frozen in the run too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as hot_dataclass
else:
    from dataclasses import dataclass

    def hot_dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """Return the decorator; used as `@hot_dataclass(frozen=True, slots=True)` and not otherwise."""
        assert frozen
        assert slots
        return dataclass(slots=True, unsafe_hash=True)


__all__ = ["hot_dataclass"]
