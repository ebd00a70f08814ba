"""Numbers for balancing and jitter."""

from __future__ import annotations

from gateway.kernel.draws import Draws
from tests.kit.seeded import SeededRandomness


class Fixed:
    """Randomness that is always the same byte."""

    def __init__(self, byte: int) -> None:
        self.byte = byte
        self.drawn = 0

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return bytes([self.byte]) * count


def test_numbers_lie_from_0_to_below_1() -> None:
    """The least is 0 and the greatest is less than 1."""
    assert Draws(Fixed(0))() == 0.0
    assert 1.0 - 2**-31 < Draws(Fixed(255))() < 1.0


def test_they_are_spread_evenly() -> None:
    """A tenth of 10,000 falls into each tenth."""
    draw = Draws(SeededRandomness(1))
    counts = [0] * 10
    for _ in range(10_000):
        counts[int(draw() * 10)] += 1
    assert min(counts) > 900
    assert max(counts) < 1100


def test_they_are_drawn_many_at_a_time() -> None:
    """One system call gives 256 of them."""
    source = Fixed(1)
    draw = Draws(source)
    for _ in range(257):
        draw()
    assert source.drawn == 2
