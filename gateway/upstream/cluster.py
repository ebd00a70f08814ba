"""The backends that serve one model, and which of them gets the next request.

The choice is the power of two: two are drawn by weight, and the one with less in flight for its weight takes
the request; where nothing is in flight the first drawn does, so that little traffic is split by weight too.
Least of all would send every request of one instant to the same backend, because what was chosen a moment
ago is not in flight yet (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.upstream.backend import HttpBackend

_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Share:
    """A backend's part in a model's traffic."""

    weight: float = 1.0
    """How much of it, against the others of the same order."""
    order: int = 0
    """Who is asked first: a higher order only gets what no lower one can take."""


EQUAL: Final = Share()
Draw: TypeAlias = Callable[[], float]


def pick_two(weights: Sequence[float], draw: Draw) -> tuple[int, int]:
    """Return two different indices, drawn by weight; of a single weight the same one twice."""
    first = _drawn(weights, draw())
    if len(weights) == 1:
        return first, first
    second = _drawn([*weights[:first], *weights[first + 1 :]], draw())
    return first, second + (second >= first)


def _drawn(weights: Sequence[float], at: float) -> int:
    left = at * sum(weights)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0.0:
            return index
    return len(weights) - 1


class Cluster:
    """One or more backends, each with its share. Immutable; what changes is theirs."""

    __slots__ = ("_draw", "_lone", "_members")

    def __init__(self, members: Sequence[tuple[HttpBackend, Share]], draw: Draw) -> None:
        self._members = tuple(members)
        self._draw = draw
        self._lone = members[0][0] if len(members) == 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        """Who serves it, in the order of the configuration."""
        return tuple(backend.name for backend, _ in self._members)

    def pick(self, now_s: float, excluding: Collection[str] = _NOBODY) -> HttpBackend | None:
        """Return who gets the next request, or None where it should go to nobody.

        Where every backend is out of the choice, a first request still goes to the one that is due soonest:
        there is nowhere else to go. A further one, which names whom it excludes, then goes nowhere.
        """
        if self._lone is not None:
            return None if self._lone.name in excluding else self._lone
        members = [member for member in self._members if member[0].name not in excluding]
        able = [member for member in members if member[0].breaker.allows(now_s)]
        if not able:
            return None if excluding else min(members, key=lambda one: one[0].breaker.due_in_s(now_s))[0]
        order = min(share.order for _, share in able)
        backend = self._less_busy([member for member in able if member[1].order == order])
        backend.breaker.claim(now_s)
        return backend

    def _less_busy(self, able: Sequence[tuple[HttpBackend, Share]]) -> HttpBackend:
        first, second = pick_two([share.weight for _, share in able], self._draw)
        (one, own), (other, others) = able[first], able[second]
        return other if other.in_flight * own.weight < one.in_flight * others.weight else one
