"""The real clock and the real randomness."""

from __future__ import annotations

import time

from gateway.system import SystemClock, SystemRandomness


def test_the_wall_clock_is_in_milliseconds() -> None:
    """It agrees with the system's own."""
    before = time.time_ns() // 1_000_000
    assert before <= SystemClock().wall_ms() <= time.time_ns() // 1_000_000


def test_the_monotonic_clock_never_goes_back() -> None:
    """Successive readings do not fall."""
    clock = SystemClock()
    readings = [clock.monotonic_s() for _ in range(100)]
    assert readings == sorted(readings)


def test_randomness_differs() -> None:
    """Two draws are not the same."""
    source = SystemRandomness()
    assert source.token_bytes(16) != source.token_bytes(16)
    assert len(source.token_bytes(0)) == 0
