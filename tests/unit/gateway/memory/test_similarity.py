"""Similarity, and the matrix that computes it for all rows at once."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.memory import similarity as module
from gateway.memory.similarity import TokenMatrix, rows_of, set_weight, similarity, token_weight

KEYS = [
    "action_type=a",
    "amount_currency=USD",
    "amount_usd_bucket=small",
    "tags[]=x",
    "tags[]=y",
    "tags[]=z",
    "other=1",
]
token_sets = st.frozensets(st.sampled_from(KEYS))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(token_sets, max_size=70), token_sets, st.sets(st.integers(0, 69)), st.booleans())
def test_matrix_agrees_with_pairs(rows, query, removed, weighted):
    """Every row that is present has exactly the score that its own token set has, with any weights."""
    weights = {"tags": 3, "action_type": 5} if weighted else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WEIGHTS", weights)
        matrix = TokenMatrix()
        for row, tokens in enumerate(rows):
            matrix.add(row, tokens)
        for row in removed & set(range(len(rows))):
            matrix.remove(row)
        found = {row: score for score, bits in matrix.scores(query).items() for row in rows_of(bits)}
        assert found == {
            row: similarity(query, tokens) for row, tokens in enumerate(rows) if row not in removed
        }
        assert matrix.best(query) == max(found.values(), default=0.0)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(token_sets, token_sets)
def test_laws(left, right):
    """Similarity is symmetric, in 0..1, 1 for the same set, and with weights of 1 the plain Jaccard index."""
    score = similarity(left, right)
    assert score == similarity(right, left)
    assert 0 <= score <= 1
    assert similarity(left, left) == (1.0 if left else 0.0)
    either = len(left | right)
    assert score == (float(Fraction(len(left & right), either)) if either else 0.0)


def test_weights_are_those_of_the_contract():
    """All features weigh 1, and a token's feature is what stands before its sign."""
    assert [token_weight(token) for token in KEYS] == [1] * 7
    assert set_weight(set(KEYS)) == 7


@given(st.sets(st.integers(0, 300)))
@settings(derandomize=True, max_examples=50, deadline=None)
def test_rows_of(rows):
    """The rows of a bit set come out lowest first."""
    assert list(rows_of(sum(1 << row for row in rows))) == sorted(rows)
