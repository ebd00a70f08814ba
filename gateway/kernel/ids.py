"""ULIDs from an injected clock and injected randomness (github.com/ulid/spec).

26 characters of Crockford base 32: 48 bits of milliseconds, 80 bits of randomness. They sort by
time across processes and are unique; order inside a millisecond is the ledger's business (its
sequence), not theirs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from gateway.kernel.clock import Clock, Randomness

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARS: Final = frozenset(_ALPHABET)
_FROM_BYTE: Final = bytes(ord(_ALPHABET[byte & 31]) for byte in range(256))
ULID_CHARS: Final = 26
RANDOM_BYTES: Final = 16
"""One byte a random character, of which five bits are used: a table look-up in C, and no arithmetic."""
_IDS_A_DRAW: Final = 256


def ulid(wall_ms: int, randomness: bytes) -> str:
    """Return the ULID of `wall_ms` (0 to 2**48-1) and `RANDOM_BYTES` random bytes."""
    return _time_chars(wall_ms) + _random_chars(randomness)


def _random_chars(randomness: bytes) -> str:
    return randomness.translate(_FROM_BYTE).decode("ascii")


def is_ulid(text: str) -> bool:
    """Tell whether `text` is a ULID in canonical spelling."""
    return len(text) == ULID_CHARS and text[0] <= "7" and _CHARS.issuperset(text)


# A busy gateway makes many ids in the same millisecond.
@lru_cache(maxsize=64)
def _time_chars(wall_ms: int) -> str:
    return "".join([_ALPHABET[(wall_ms >> shift) & 31] for shift in range(45, -1, -5)])


class IdSource:
    """Makes ids from the clock and the randomness it was given."""

    __slots__ = ("_at", "_clock", "_drawn", "_randomness")

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._drawn = ""
        self._at = 0

    def new(self) -> str:
        """Return a fresh ULID."""
        start = self._at
        if start == len(self._drawn):
            # For many ids at a time: one system call, and the spelling, cost more than the id itself.
            self._drawn = _random_chars(self._randomness.token_bytes(_IDS_A_DRAW * RANDOM_BYTES))
            start = 0
        self._at = end = start + RANDOM_BYTES
        return _time_chars(self._clock.wall_ms()) + self._drawn[start:end]
