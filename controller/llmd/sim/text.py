"""Tokens and words of the simulator: a regex tokenizer, block hashes, answer lengths, a corpus. Pure.

The tokenizer is no BPE: a token is up to seven letters or digits with the space before them, one other
character, or what `special` marks. English text comes to about 4.4 characters a token. The same input gives
the same answer, for any process and hash seed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Final
from zlib import crc32

from controller.llmd.sim.config import Lengths
from controller.llmd.sim.draws import integer, normal, uniform

_TOKEN: Final = re.compile(r"\x02[^\x03]{0,64}\x03| ?\w{1,7}|\s|[^\w\s]")
_SENTENCES: Final = 600
"""About 7,000 tokens before the corpus repeats; answers start anywhere in it."""
_WORDS: Final = """
    the a this each another order answer request system team account case change result report cost time
    model plan note value service week client topic reason level point load queue batch cache token
    is was has can will may gives takes needs keeps shows finds makes moves sends reads holds meets stays
    new open small large clear early late good common simple steady quick fair plain short next first
    and but so then when while because with from under over after before between near again always often
"""

_QUANTILES: Final = (
    *(0, 0.01, 0.02, *(step / 20 for step in range(1, 19)), 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0),
)
_AZURE_CONV_OUTPUT: Final = (
    *(7, 16, 24, 41, 54, 67, 77, 85, 91, 96, 103, 113, 129, 151, 177, 217, 384, 395, 400, 411, 424, 430, 451),
    *(509, 540, 601, 643, 954, 1000),
)
"""Output tokens of the Azure 2023 conversation trace (CC-BY, Splitwise ISCA'24) at `_QUANTILES`."""
_SIM_BUCKETS: Final = (0.20, 0.30, 0.20, 0.05, 0.10, 0.15)
"""How often llm-d-inference-sim takes each bucket of answer lengths."""
_SIM_BUCKET, _SIM_FLEX = 20, 3
"""Tokens of a bucket, and the bucket that takes what is left of a larger bound."""
_SIM_MEAN, _SIM_DEVIATION = 40.0, 20.0
_SIM_ATTEMPTS: Final = 64
"""Lengths out of bounds are drawn anew; one in forty is."""


def tokenize(text: str) -> list[str]:
    """Return the tokens of `text`; joined, they are the text again."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """Return the number that stands for a token, below 2**31."""
    return crc32(token.encode("utf-8", "surrogatepass")) & 0x7FFFFFFF


def special(name: str) -> str:
    """Return text that is one token, as the special tokens of real models are; long names are cut."""
    return f"\x02{name.replace(chr(3), '')[:64]}\x03"


def digest(*parts: str) -> str:
    """Return a short digest of the parts, as a key for draws."""
    text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class BlockChain:
    """The hashes of full blocks, each bound to all before it and to the salt, and what is left over."""

    hashes: tuple[int, ...]
    above: bytes
    rest: tuple[str, ...]
    block_tokens: int

    @classmethod
    def begin(cls, block_tokens: int, salt: str = "") -> BlockChain:
        """Return the chain of no tokens."""
        return cls((), salt.encode("utf-8", "surrogatepass"), (), block_tokens)

    def then(self, tokens: Sequence[str]) -> BlockChain:
        """Return the chain after these tokens; its `hashes` are those of the blocks that they completed."""
        size, above = self.block_tokens, self.above
        pending = [*self.rest, *tokens]
        hashes = []
        full = len(pending) - len(pending) % size
        for start in range(0, full, size):
            block = "\x1f".join(pending[start : start + size]).encode("utf-8", "surrogatepass")
            above = blake2b(above + b"\x1e" + block, digest_size=8).digest()
            hashes.append(int.from_bytes(above, "big"))
        return BlockChain(tuple(hashes), above, tuple(pending[full:]), size)


def block_hashes(tokens: Sequence[str], block_tokens: int, salt: str = "") -> tuple[int, ...]:
    """Return the hashes of the leading full blocks."""
    return BlockChain.begin(block_tokens, salt).then(tokens).hashes


def answer_length(seed: int, key: str, lengths: Lengths, max_tokens: int | None, room: int) -> int:
    """Return how many tokens an answer would like to have; it may be above `room`, and is then cut."""
    if lengths == "azure-conv":
        return _azure(uniform(seed, "length", key))
    if max_tokens is not None:
        length = _sim_histogram(seed, key, max_tokens)
        return length + (length == max_tokens)  # that one was ended by its bound
    for attempt in range(_SIM_ATTEMPTS):
        length = round(_SIM_MEAN + _SIM_DEVIATION * normal(seed, "length", f"{key}/{attempt}"))
        if 1 <= length <= room:
            return length
    return room + 1


def _sim_histogram(seed: int, key: str, max_tokens: int) -> int:
    """Return a length as llm-d-inference-sim draws it for a bound (`histogram_helper.go` of v0.10.2).

    Six buckets: the last is the bound alone; the others have equal sizes up to a bound of 101, and above it
    20 tokens each, but for the fourth, which takes the rest.
    """
    draw = uniform(seed, "length", key)
    if max_tokens <= len(_SIM_BUCKETS):
        return 1 + int(draw * max_tokens)
    bucket, below = 0, 0.0
    while bucket < len(_SIM_BUCKETS) - 1 and draw > below + _SIM_BUCKETS[bucket]:
        below += _SIM_BUCKETS[bucket]
        bucket += 1
    if bucket == len(_SIM_BUCKETS) - 1:
        return max_tokens
    edges = len(_SIM_BUCKETS) - 1
    if max_tokens <= _SIM_BUCKET * edges + 1:
        size = (max_tokens - 1) / edges
        start, end = int(size * bucket) + 1, int(size * (bucket + 1))
    else:
        stretch = max_tokens - _SIM_BUCKET * edges
        start = _SIM_BUCKET * bucket + 1 + (stretch if bucket > _SIM_FLEX else 0)
        end = _SIM_BUCKET * (bucket + 1) + (stretch if bucket >= _SIM_FLEX else 0)
    return start + int(uniform(seed, "length-in-bucket", key) * (end - start + 1))


def _azure(draw: float) -> int:
    points = zip(_QUANTILES, _AZURE_CONV_OUTPUT, strict=True)
    for (low, low_tokens), (high, high_tokens) in pairwise(points):
        if draw <= high:
            return round(low_tokens + (high_tokens - low_tokens) * (draw - low) / (high - low))
    return _AZURE_CONV_OUTPUT[-1]


@lru_cache(maxsize=8)
def corpus(seed: int) -> tuple[str, ...]:
    """Return the tokens that answers are cut from, by seed."""
    vocabulary = _WORDS.split()
    pieces: list[str] = []
    for sentence in range(_SENTENCES):
        number = integer(seed, "sentence", str(sentence))
        count = 6 + number % 11
        for word in range(count):
            number, index = divmod(number, len(vocabulary))
            if number < len(vocabulary):
                number = integer(seed, "words", f"{sentence}/{word}")
            text = vocabulary[index]
            pieces.append(f" {text if word else text.capitalize()}")
        pieces.append(".")
    return tuple(pieces)


def words(seed: int, key: str, count: int) -> list[str]:
    """Return `count` tokens of text for a key; the first has no space before it."""
    pieces = corpus(seed)
    start = integer(seed, "words", key) % len(pieces)
    while pieces[start - 1] != ".":  # answers begin where a sentence does
        start -= 1
    start %= len(pieces)
    rounds = 1 + (start + count) // len(pieces)
    taken = list((pieces * rounds)[start : start + count])
    if taken:
        taken[0] = taken[0].lstrip()
    return taken
