"""`controller.evaluate.tables`."""

from __future__ import annotations

import random

import pytest

from controller.evaluate.tables import RANKS, SIZES, at


@pytest.mark.parametrize("name", sorted(SIZES))
def test_tables_rise_and_have_a_point_per_rank(name: str) -> None:
    """29 points each, never falling, so that drawing by inverse is well defined."""
    for table in (SIZES[name].inputs, SIZES[name].outputs):
        assert len(table) == len(RANKS) == 29
        assert list(table) == sorted(table)


def test_drawing_hits_the_published_means() -> None:
    """Azure chat: 1155 tokens in and 211 out on the mean, within 2 %."""
    rng = random.Random(1)
    drawn = [SIZES["chat"].draw(rng.random(), rng.random()) for _ in range(40_000)]
    assert sum(tokens for tokens, _ in drawn) / len(drawn) == pytest.approx(1155, rel=0.02)
    assert sum(tokens for _, tokens in drawn) / len(drawn) == pytest.approx(211, rel=0.02)


def test_the_ends_of_a_table() -> None:
    """Rank 0 is the smallest value and a rank near 1 the largest."""
    table = SIZES["chat"].inputs
    assert at(0.0, table) == 2
    assert at(0.99999999999, table) == 14050
