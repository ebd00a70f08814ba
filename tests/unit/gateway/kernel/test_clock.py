"""The printing of instants; the clock and the randomness themselves are protocols."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.clock import Clock, Randomness, rfc3339
from gateway.system import SystemClock, SystemRandomness


@pytest.mark.parametrize(
    ("wall_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (999, "1970-01-01T00:00:00Z"),
        (1_000, "1970-01-01T00:00:01Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59Z"),
        (-1, "1969-12-31T23:59:59Z"),
    ],
)
def test_instants(wall_ms: int, text: str) -> None:
    """Whole seconds, rounded down, in UTC."""
    assert rfc3339(wall_ms) == text


@given(st.integers(0, 253_402_300_799_999))
def test_an_instant_reads_back(wall_ms: int) -> None:
    """What is printed is the second that was meant."""
    assert int(datetime.fromisoformat(rfc3339(wall_ms)).astimezone(UTC).timestamp()) == wall_ms // 1000


def test_the_real_ones_fit_the_protocols() -> None:
    """The machine's clock and randomness are what the protocols ask for."""
    clock: Clock = SystemClock()
    randomness: Randomness = SystemRandomness()
    assert clock.wall_ms() > 1_700_000_000_000
    assert clock.monotonic_s() <= clock.monotonic_s()
    assert len(randomness.token_bytes(3)) == 3
