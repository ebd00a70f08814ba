"""Places of JSON texts, read and mended."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.wire.toolcall.call import UnreadableError
from gateway.wire.toolcall.text import (
    mended,
    object_at,
    objects_at,
    read_object,
    replaced,
    text_at,
    value_text,
    whole_at,
)

TEXT = '{ "a": [1.50, {"b" : "x"}], "c": null }'


def test_only_the_place_changes() -> None:
    """Every other byte stays: spaces, zeros, order."""
    assert replaced(TEXT, ("a", 1, "b"), "7") == '{ "a": [1.50, {"b" : 7}], "c": null }'
    assert mended(TEXT, ("a", 0), lambda held: held + "0") == '{ "a": [1.500, {"b" : "x"}], "c": null }'
    assert replaced(TEXT, (), "[]") == "[]"


def test_a_member_that_is_not_there_is_added() -> None:
    """Behind the others; on the way there it must exist."""
    assert orjson.loads(mended(TEXT, ("a", 1, "d"), lambda held: f"[{held}]"))["a"][1] == {
        "b": "x",
        "d": [None],
    }
    with pytest.raises(KeyError):
        mended(TEXT, ("x", "y"), lambda held: held)
    with pytest.raises(IndexError):
        replaced(TEXT, ("a", 9), "1")


def test_a_value_is_given_as_it_is_written() -> None:
    """Zeros and spaces and all."""
    assert value_text(TEXT, ("a", 0)) == "1.50"
    assert value_text(TEXT, ("a", 1)) == '{"b" : "x"}'
    with pytest.raises(KeyError):
        value_text(TEXT, ("z",))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"1", b'{"a":1,"a":1}', b'{"a":{"b":1,"b":1}}', b"\xff"])
def test_what_is_no_clear_object_is_unreadable(data: bytes) -> None:
    """Only one object without twins anywhere is read."""
    with pytest.raises(UnreadableError):
        read_object(data)


def test_members_are_of_their_kind() -> None:
    """What is there in another kind is unreadable; null is nothing."""
    value: Any = {"o": {"x": 1}, "l": [{"y": 1}], "n": 3, "t": "s", "none": None}
    assert read_object(orjson.dumps(value)) == value
    assert object_at(value, "o") == {"x": 1}
    assert object_at(value, "none") == object_at(value, "missing") == {}
    assert objects_at(value, "l") == [{"y": 1}]
    assert objects_at(value, "none") == objects_at(value, "missing") == ()
    assert (whole_at(value, "n", 0), whole_at(value, "missing", 5)) == (3, 5)
    assert (text_at(value, "t"), text_at(value, "n")) == ("s", "")
    wrong = ((object_at, "l"), (objects_at, "o"), (objects_at, "t"))
    for read, key in wrong:
        with pytest.raises(UnreadableError):
            read(value, key)
    for odd in (-1, True, 1.0, "1", None):
        with pytest.raises(UnreadableError):
            whole_at({"n": odd}, "n", 0)
    with pytest.raises(UnreadableError):
        objects_at({"l": [1]}, "l")
