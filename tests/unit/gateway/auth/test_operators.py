"""Operators: who is one, and that nobody is where none is configured."""

from __future__ import annotations

import pytest

from gateway.auth.operators import OperatorRing
from gateway.kernel.errors import ForbiddenError, UnauthorizedError
from tests.kit.tools import hash_of

RING = OperatorRing([("ann", hash_of("a")), ("bob", hash_of("b"))])


def test_an_operator_is_known_by_a_key() -> None:
    """The bearer token names who speaks."""
    assert RING.operator("Bearer a") == "ann"
    assert RING.operator("bearer b") == "bob"


@pytest.mark.parametrize("authorization", [None, "", "Bearer x", "Basic a", "a"])
def test_nobody_else_is(authorization: str | None) -> None:
    """Without a key, or with another, nobody speaks."""
    with pytest.raises(UnauthorizedError):
        RING.operator(authorization)


@pytest.mark.parametrize("authorization", [None, "Bearer a"])
def test_without_operators_nobody_is(authorization: str | None) -> None:
    """An empty ring lets nobody in: the local agent is no operator."""
    with pytest.raises(ForbiddenError):
        OperatorRing([]).operator(authorization)
