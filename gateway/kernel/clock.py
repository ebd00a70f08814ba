"""Time as an argument: a wall clock for what people read, a monotonic one for durations; never mixed.

The real clock is in `gateway.system`; tests and simulations hand in their own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Where time comes from."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC. May jump; never subtract two of these."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start. Never goes back; means nothing to people."""
        ...


class Randomness(Protocol):
    """Where unpredictable bytes come from."""

    def token_bytes(self, count: int) -> bytes:
        """Return `count` unpredictable bytes."""
        ...


def rfc3339(wall_ms: int) -> str:
    """Return the instant as UTC in whole seconds, as decision records print it (contract 1.2)."""
    return _second(wall_ms // 1000)


# A busy gateway prints the same second thousands of times.
@lru_cache(maxsize=64)
def _second(wall_s: int) -> str:
    return (_EPOCH + timedelta(seconds=wall_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
