"""Deterministic draws by purpose and key: no stream to advance, so one more draw shifts no other. Pure."""

from __future__ import annotations

import math
from hashlib import blake2b


def uniform(seed: int, purpose: str, key: str) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    return integer(seed, purpose, key) / 2**64


def integer(seed: int, purpose: str, key: str) -> int:
    """Return a number in [0, 2**64) that depends on nothing but the arguments."""
    text = f"{seed}\x00{purpose}\x00{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def normal(seed: int, purpose: str, key: str) -> float:
    """Return a standard normal number that depends on nothing but the arguments (Box and Muller)."""
    radius = math.sqrt(-2 * math.log(1 - uniform(seed, f"{purpose}-radius", key)))
    return radius * math.cos(2 * math.pi * uniform(seed, f"{purpose}-angle", key))
