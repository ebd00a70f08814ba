"""ULIDs: their spelling, their order, their randomness."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kernel.ids import RANDOM_BYTES, ULID_CHARS, IdSource, is_ulid, ulid
from tests.kit.entries import StillClock

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TIMES = st.integers(0, 2**48 - 1)
DRAWS = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def test_a_golden_ulid() -> None:
    """The spec's own time prefix, and five bits of each random byte."""
    assert ulid(1469918176385, bytes(range(16))) == "01ARYZ6S41" + ALPHABET[:16]
    assert ulid(2**48 - 1, b"\xff" * 16) == "7ZZZZZZZZZ" + "Z" * 16


@given(TIMES, DRAWS)
def test_every_ulid_is_one(wall_ms: int, draw: bytes) -> None:
    """Whatever the time and the draw, the spelling is canonical and the time reads back."""
    text = ulid(wall_ms, draw)
    assert is_ulid(text)
    value = 0
    for char in text[:10]:
        value = value * 32 + ALPHABET.index(char)
    assert value == wall_ms
    assert text[10:] == "".join(ALPHABET[byte & 31] for byte in draw)


@given(TIMES, TIMES, DRAWS, DRAWS)
def test_ulids_sort_by_time(first: int, second: int, one: bytes, other: bytes) -> None:
    """An earlier millisecond sorts first, whatever the randomness."""
    if first < second:
        assert ulid(first, one) < ulid(second, other)


@pytest.mark.parametrize(
    "text",
    ["", "0" * 25, "0" * 27, "8" + "0" * 25, "I" + "0" * 25, "0" * 25 + "u", "0" * 25 + "\n", "٣" + "0" * 25],
)
def test_what_is_no_ulid(text: str) -> None:
    """Other lengths, other letters, lower case, and times beyond 48 bits are refused."""
    assert not is_ulid(text)


def test_a_source_never_repeats_itself() -> None:
    """Ids are fresh beyond the end of a draw, carry the clock's time, and draw once for many."""
    clock, randomness = StillClock(), CountingRandomness()
    ids = IdSource(clock, randomness)
    made = [ids.new() for _ in range(600)]
    assert len(set(made)) == 600
    assert all(len(text) == ULID_CHARS and text[:10] == made[0][:10] for text in made)
    assert randomness.draws == 3
    clock.now_ms += 1
    assert ids.new() > max(made)[:10]


class CountingRandomness:
    """Counts how often it is asked, and gives bytes that all differ."""

    def __init__(self) -> None:
        self.draws = 0

    def token_bytes(self, count: int) -> bytes:
        self.draws += 1
        numbers = (self.draws * 1000 + at for at in range(count // RANDOM_BYTES))
        return b"".join(bytes((n >> (5 * digit)) & 31 for digit in range(RANDOM_BYTES)) for n in numbers)
