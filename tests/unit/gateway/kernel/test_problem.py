"""A problem says where it is, if it is somewhere."""

from __future__ import annotations

from gateway.kernel.problem import Problem


def test_a_problem_is_one_line() -> None:
    """With line and column where there is a place, and the message alone where there is none."""
    assert str(Problem("wrong", 3, 7, "/a")) == "line 3, column 7: wrong"
    assert str(Problem("wrong")) == "wrong"
