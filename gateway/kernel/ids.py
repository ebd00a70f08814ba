"""ULIDs from an injected clock and injected randomness (github.com/ulid/spec).

26 characters of Crockford base 32: 48 bits of milliseconds, 80 bits of randomness. They sort by
time across processes and are unique; order inside a millisecond is the ledger's business (its
sequence), not theirs.
"""

from __future__ import annotations

from typing import Final

from gateway.kernel.clock import Clock, Randomness

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
ULID_CHARS: Final = 26


def ulid(wall_ms: int, randomness: bytes) -> str:
    """Return the ULID of `wall_ms` (0 to 2**48-1) and exactly 10 random bytes."""
    number = (wall_ms << 80) | int.from_bytes(randomness, "big")
    pairs = _PAIRS
    return "".join([pairs[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def is_ulid(text: str) -> bool:
    """Tell whether `text` is a ULID in canonical spelling."""
    return len(text) == ULID_CHARS and text[0] <= "7" and all(char in _ALPHABET for char in text)


class IdSource:
    """Makes ids from the clock and the randomness it was given."""

    __slots__ = ("_clock", "_pool", "_randomness")

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._pool = b""

    def new(self) -> str:
        """Return a fresh ULID."""
        # Randomness is drawn for 256 ids at a time: one system call costs as much as the id itself.
        pool = self._pool or self._randomness.token_bytes(2560)
        self._pool = pool[10:]
        return ulid(self._clock.wall_ms(), pool[:10])
