"""The parts of a controller's state that belong to no single model or intent: sessions, lengths, tallies."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from controller.signals import Lengths

SESSIONS_MAX: Final = 10_000
"""Conversations that are remembered for stickiness: an hour of a busy gateway, 2 MB."""
ROUTES_MAX: Final = 1_000
"""Routes with output lengths of their own; others share the global ones."""
DECISIONS_KEPT: Final = 1_000
"""Decision times behind the guard's 99th percentile: ten samples above it."""


class Sessions:
    """Which model each session was last served by; the least recently used is forgotten."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: OrderedDict[str, str] = OrderedDict()

    def get(self, session: str | None) -> str | None:
        """Return the session's model, or None."""
        return None if session is None else self._models.get(session)

    def put(self, session: str | None, model: str) -> None:
        """Remember the session's model."""
        if session is None:
            return
        self._models[session] = model
        self._models.move_to_end(session)
        if len(self._models) > SESSIONS_MAX:
            self._models.popitem(last=False)


class RouteLengths:
    """Output lengths per route, falling back to those of all routes."""

    __slots__ = ("_all", "_routes")

    def __init__(self, prior: tuple[float, ...]) -> None:
        self._all = Lengths(prior)
        self._routes: dict[str, Lengths] = {}

    def table(self, route: str) -> tuple[float, ...]:
        """Return the lengths of a route at `signals.LENGTH_RANKS`."""
        return self._routes.get(route, self._all).table()

    def add(self, route: str, tokens: int) -> None:
        """Count a complete answer that no cap of ours has cut."""
        self._all.add(tokens)
        lengths = self._routes.get(route)
        if lengths is None:
            if len(self._routes) >= ROUTES_MAX:
                return
            lengths = self._routes[route] = Lengths((), self._all)
        lengths.add(tokens)


class Tally:
    """How decisions went, for the guard: exceptions and times."""

    __slots__ = ("_raised", "_times")

    def __init__(self) -> None:
        self._raised: deque[bool] = deque(maxlen=DECISIONS_KEPT)
        self._times: deque[float] = deque(maxlen=DECISIONS_KEPT)

    def decided(self, *, raised: bool) -> None:
        """Count a decision."""
        self._raised.append(raised)

    def took(self, seconds: float) -> None:
        """Count the time of a decision, measured by whoever has a clock."""
        self._times.append(seconds)

    @property
    def exception_share(self) -> float:
        """Return the share of the last decisions that raised; one in fewer than a hundred counts as 1 %."""
        return sum(self._raised) / max(100, len(self._raised))

    @property
    def p99_s(self) -> float | None:
        """Return the 99th percentile of decision times, None with fewer than a hundred."""
        if len(self._times) < 100:
            return None
        ordered = sorted(self._times)
        return ordered[int(0.99 * (len(ordered) - 1))]

    def clear(self) -> None:
        """Forget: after a change of mode the past proves nothing."""
        self._raised.clear()
        self._times.clear()
