"""Weighted Jaccard similarity of token sets, for one set against thousands at once.

The similarity of A and B is the weight of what they share over the weight of what either has (Jaccard
1901; with weights, Ruzicka). Weights are whole numbers per feature, all 1 as in contract 3, so that sums
are exact and equal scores are equal floats on every machine.

`TokenMatrix` keeps one bit per row and token in Python's long integers. A lookup splits the rows by what
they share with the query: a handful of AND operations over n bits, whatever the rows look like, where a
loop would visit every distinct set. 10,000 rows are 1.25 kB a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

WEIGHTS: Final[Mapping[str, int]] = {
    "action_type": 1,
    "amount_currency": 1,
    "amount_usd_bucket": 1,
    "tags": 1,
}


def token_weight(token: str) -> int:
    """Return the weight of a token's feature: what stands before `=` or `[]=`; 1 for an unknown one."""
    return WEIGHTS.get(token.partition("=")[0].removesuffix("[]"), 1)


def set_weight(tokens: AbstractSet[str]) -> int:
    """Return the weight of a whole token set."""
    return sum(map(token_weight, tokens))


def similarity(left: AbstractSet[str], right: AbstractSet[str]) -> float:
    """Return the similarity of two token sets in 0..1; 0 if both are empty."""
    return _score(set_weight(left & right), set_weight(left | right))


class TokenMatrix:
    """Rows of token sets, numbered by the caller from 0; find those most similar to a query."""

    __slots__ = ("_columns", "_present", "_weights")

    def __init__(self) -> None:
        self._present = 0
        self._columns: dict[str, int] = {}
        self._weights: dict[int, int] = {}

    def add(self, row: int, tokens: AbstractSet[str]) -> None:
        """Put a token set into a row that is empty so far."""
        bit = 1 << row
        self._present |= bit
        for token in tokens:
            self._columns[token] = self._columns.get(token, 0) | bit
        weight = set_weight(tokens)
        self._weights[weight] = self._weights.get(weight, 0) | bit

    def remove(self, row: int) -> None:
        """Take a row out of all later lookups."""
        self._present &= ~(1 << row)

    def scores(self, query: AbstractSet[str]) -> dict[float, int]:
        """Return each score that some row has against `query`, with the bits of the rows that have it."""
        whole, classes = self._classes(query)
        scores: dict[float, int] = {}
        for shared, rows in classes.items():
            for weight, of_weight in self._weights.items():
                bits = rows & of_weight
                if bits:
                    score = _score(shared, whole + weight - shared)
                    scores[score] = scores.get(score, 0) | bits
        return scores

    def best(self, query: AbstractSet[str]) -> float:
        """Return the highest score that a row has against `query`, 0 without rows."""
        whole, classes = self._classes(query)
        best = 0.0
        for shared in sorted(classes, reverse=True):
            # No row is lighter than what it shares, so this is the most that the class can reach.
            if best >= _score(shared, whole):
                break
            for weight in sorted(self._weights):
                if classes[shared] & self._weights[weight]:
                    best = max(best, _score(shared, whole + weight - shared))
                    break
        return best

    def _classes(self, query: AbstractSet[str]) -> tuple[int, dict[int, int]]:
        """Return the weight of the query, and the rows by the weight of what they share with it."""
        whole = 0
        classes = {0: self._present}
        for token in query:
            weight = token_weight(token)
            whole += weight
            column = self._columns.get(token)
            if column:
                classes = _split(classes, column, weight)
        return whole, classes


def _score(shared: int, either: int) -> float:
    return shared / either if either else 0.0


def _split(classes: dict[int, int], column: int, weight: int) -> dict[int, int]:
    split: dict[int, int] = {}
    for shared, rows in classes.items():
        having = rows & column
        lacking = rows ^ having
        if having:
            split[shared + weight] = split.get(shared + weight, 0) | having
        if lacking:
            split[shared] = split.get(shared, 0) | lacking
    return split


def rows_of(bits: int) -> Iterator[int]:
    """Yield the numbers of the set bits, lowest first."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
