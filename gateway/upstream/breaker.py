"""A breaker for each backend: takes one that fails out of the choice, finds out when it is well again. Pure.

    CLOSED    --too many failures-->  OPEN        nothing goes there while others can serve
    OPEN      --its time is over-->   HALF_OPEN   one request at a time goes there, as a probe
    HALF_OPEN --the probe answers-->  CLOSED
    HALF_OPEN --the probe fails-->    OPEN        for twice as long

Too many: so many in a row (a dead backend), or such a share of a window (a sick one). Whoever sends takes an
epoch from `sent` and hands it back with the result, so that what was sent before the breaker opened cannot
decide about a backend that has been started anew since. Time is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.kernel import bounds

CLAIM_S: Final = 1.0
"""Who was given a probe's place and does not send within it (held by a policy, gone) has lost it."""
_JITTER: Final = 0.25
"""Up to a quarter more than its time: gateways that saw a backend fall together must not probe in step."""


class BreakerState(StrEnum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens and for how long; the reasons stand in `kernel.bounds`."""

    failures: int = bounds.BREAKER_FAILURES
    failure_ratio: float = bounds.BREAKER_FAILURE_RATIO
    requests_min: int = bounds.BREAKER_REQUESTS_MIN
    window_s: float = bounds.BREAKER_WINDOW_S
    open_s: float = bounds.BREAKER_OPEN_S
    open_max_s: float = bounds.BREAKER_OPEN_MAX_S


NEVER: Final = BreakerSettings(failures=1 << 60, requests_min=1 << 60)
"""For what is asked again whatever it answers, and is no backend: a page of metrics."""


class Breaker:
    """One backend's breaker; lives in one event loop."""

    __slots__ = (
        "_before",
        "_claimed_until_s",
        "_draw",
        "_failed",
        "_half_s",
        "_in_a_row",
        "_open_until_s",
        "_probing_until_s",
        "_seen",
        "_settings",
        "_turn_s",
        "_waits",
        "closed",
        "epoch",
        "openings",
    )

    def __init__(self, settings: BreakerSettings, draw: Callable[[], float]) -> None:
        """`draw` returns random numbers from 0 to below 1, for the jitter."""
        self._settings = settings
        self._draw = draw
        self._half_s = settings.window_s / 2
        self._open_until_s = -math.inf
        self._claimed_until_s = -math.inf
        self._probing_until_s = -math.inf
        self._waits = 0
        self.closed = True
        self.epoch = 0
        """Counts openings and closings: what was sent in another epoch says nothing of this one."""
        self.openings = 0
        """Since the start, for metrics."""
        self._clear(-math.inf)

    def state(self, now_s: float) -> BreakerState:
        """Return where it stands."""
        if self.closed:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self._open_until_s else BreakerState.HALF_OPEN

    def allows(self, now_s: float) -> bool:
        """Tell whether a request may choose it: always while closed, never while open, else as the probe."""
        return self.closed or (self.admits(now_s) and now_s >= self._claimed_until_s)

    def admits(self, now_s: float) -> bool:
        """Tell whether a request that chose it may be sent: a place that was given is its own."""
        return self.closed or (now_s >= self._open_until_s and now_s >= self._probing_until_s)

    def due_in_s(self, now_s: float) -> float:
        """Return in how many seconds a request may go there."""
        return 0.0 if self.closed else max(0.0, self._open_until_s - now_s, self._probing_until_s - now_s)

    def claim(self, now_s: float) -> None:
        """Give the probe's place to somebody who is about to send."""
        if not self.closed and now_s >= self._open_until_s:
            self._claimed_until_s = now_s + CLAIM_S

    def sent(self, now_s: float) -> int:
        """Take note that a request goes there; return the epoch to hand back with its result.

        A probe that is silent keeps its place for `open_s`: a long answer must not keep a backend out.
        """
        if not self.closed and now_s >= self._open_until_s:
            self._probing_until_s = now_s + self._settings.open_s
        return self.epoch

    def answered(self, epoch: int) -> bool:
        """Take note of an answer's head; True where it closed the breaker."""
        if self.closed or epoch != self.epoch:
            return False
        self.closed = True
        self.epoch += 1
        self._waits = 0
        self._clear(-math.inf)
        return True

    def succeeded(self, epoch: int, now_s: float) -> None:
        """Count an answer that came to its end."""
        if epoch == self.epoch and self.closed:
            if now_s >= self._turn_s:
                self._turn(now_s)
            self._seen += 1
            self._in_a_row = 0

    def failed(self, epoch: int, now_s: float) -> bool:
        """Count a failure; True where it opened the breaker."""
        if epoch != self.epoch:
            return False
        if not self.closed:
            # While it is open only a last resort goes there, and its failure is no news.
            return now_s >= self._open_until_s and self._open(now_s)
        if now_s >= self._turn_s:
            self._turn(now_s)
        self._seen += 1
        self._failed += 1
        self._in_a_row += 1
        settings = self._settings
        seen, failed = self._seen + self._before[0], self._failed + self._before[1]
        sick = seen >= settings.requests_min and failed >= settings.failure_ratio * seen
        return (self._in_a_row >= settings.failures or sick) and self._open(now_s)

    def abandoned(self, epoch: int, now_s: float) -> None:
        """Take note that nobody waits for a request any more: a probe's place is free again."""
        if epoch == self.epoch and not self.closed:
            self._claimed_until_s = self._probing_until_s = now_s

    def _open(self, now_s: float) -> bool:
        length_s = min(self._settings.open_max_s, self._settings.open_s * 2.0**self._waits)
        self._waits = min(self._waits + 1, 32)
        self._open_until_s = now_s + length_s * (1.0 + _JITTER * self._draw())
        self._claimed_until_s = self._probing_until_s = -math.inf
        self.closed = False
        self.epoch += 1
        self.openings += 1
        return True

    def _turn(self, now_s: float) -> None:
        """Begin another half of the window; the half before stays, if it is not too old."""
        fresh = now_s < self._turn_s + self._half_s
        kept = (self._seen, self._failed) if fresh else (0, 0)
        self._clear(now_s + self._half_s, kept, self._in_a_row)

    def _clear(self, turn_s: float, before: tuple[int, int] = (0, 0), in_a_row: int = 0) -> None:
        self._turn_s = turn_s
        self._before = before
        self._seen = self._failed = 0
        self._in_a_row = in_a_row
