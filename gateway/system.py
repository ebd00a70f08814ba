"""The real clock and the real randomness, handed in by the two composition roots and nobody else."""

from __future__ import annotations

import secrets
import time


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def wall_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()


class SystemRandomness:
    """The kernel's generator."""

    __slots__ = ()

    def token_bytes(self, count: int) -> bytes:
        """Return `count` unpredictable bytes."""
        return secrets.token_bytes(count)
