"""Randomness that is the same in every run, and never the same twice in one."""

from __future__ import annotations

import random


class SeededRandomness:
    """As many bytes as are asked for, from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)
