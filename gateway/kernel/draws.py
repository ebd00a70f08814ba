"""Random numbers from injected randomness, drawn many at a time: for balancing and jitter, no secrets."""

from __future__ import annotations

from typing import Final

from gateway.kernel.clock import Randomness

_BYTES: Final = 4
_NUMBERS_A_DRAW: Final = 256
_SCALE: Final = 1.0 / (1 << (8 * _BYTES))


class Draws:
    """Call it for the next number, from 0 to below 1."""

    __slots__ = ("_at", "_drawn", "_randomness")

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._drawn = b""
        self._at = 0

    def __call__(self) -> float:
        """Return the next number."""
        if self._at == len(self._drawn):
            self._drawn = self._randomness.token_bytes(_NUMBERS_A_DRAW * _BYTES)
            self._at = 0
        start = self._at
        self._at = start + _BYTES
        return int.from_bytes(self._drawn[start : self._at], "big") * _SCALE
