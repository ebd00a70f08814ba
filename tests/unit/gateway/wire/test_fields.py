"""Fields of a body, checked."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import InvalidRequestError
from gateway.wire.fields import (
    is_count,
    missing,
    optional_bool,
    optional_count,
    optional_list,
    required_text,
    wrong,
)


@pytest.mark.parametrize(
    ("value", "count"),
    [(0, True), (2**53 - 1, True), (2**53, False), (-1, False), (True, False), (1.0, False), ("1", False)],
)
def test_counts(value: object, count: bool) -> None:
    """A count is a whole number that a record holds exactly; a boolean is none."""
    assert is_count(value) is count


def test_what_is_not_there_has_its_default() -> None:
    """Null and nothing are the same."""
    for value in ({}, {"x": None}):
        assert optional_bool(value, "x") is False
        assert optional_list(value, "x") == []
        assert optional_count(value, "x") is None
    assert optional_bool({"x": True}, "x") is True
    assert optional_list({"x": [1]}, "x") == [1]
    assert optional_count({"x": 3}, "x") == 3
    assert required_text({"x": "a"}, "x") == "a"


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (required_text, 1),
        (required_text, "  "),
        (required_text, None),
        (optional_bool, "yes"),
        (optional_list, {}),
        (optional_count, 0),
        (optional_count, -1),
        (optional_count, "1"),
    ],
)
def test_what_is_wrong_is_named(read, value: object) -> None:
    """The error points at the field."""
    with pytest.raises(InvalidRequestError) as caught:
        read({"x": value}, "x")
    assert caught.value.pointer == "/x"
    assert missing("x").message == "`x` is required"
    assert wrong("x", "a list").message == "`x` must be a list"
