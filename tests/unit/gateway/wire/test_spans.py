"""Cutting and mending JSON text: the value changes as asked, and no other byte does."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.spans import items, members, value_of, with_value, with_values, without, without_items

FUZZ = settings(derandomize=True, max_examples=150, deadline=None)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=False)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)
objects = st.dictionaries(st.text(max_size=4), values, max_size=5)
layouts = st.sampled_from([None, 0, 2])


def loads(text: str) -> Any:
    """Read JSON with a reader of another make."""
    return json.JSONDecoder().decode(text)


@given(objects, layouts)
@FUZZ
def test_members_stand_where_they_are_said_to_stand(value: dict[str, Any], indent: int | None) -> None:
    """Each span reads as its value, in order, whatever the layout."""
    text = json.dumps(value, indent=indent)
    spans = members(text)
    assert [span.key for span in spans] == list(value)
    assert [loads(text[span.start : span.end]) for span in spans] == list(value.values())
    assert all(loads("{" + text[span.at : span.end] + "}") == {span.key: value[span.key]} for span in spans)


@given(st.lists(values, max_size=5), layouts)
@FUZZ
def test_items_stand_where_they_are_said_to_stand(value: list[Any], indent: int | None) -> None:
    """Each span of an array reads as its item."""
    text = json.dumps(value, indent=indent)
    assert [loads(text[start:end]) for start, end in items(text)] == value


@given(objects, st.sets(st.text(max_size=4), max_size=3), layouts)
@FUZZ
def test_taking_members_out(value: dict[str, Any], more: set[str], indent: int | None) -> None:
    """What is left reads as the object without them; where none is there, not a byte changes."""
    text = json.dumps(value, indent=indent)
    gone = {*list(value)[::2], *more}
    assert loads(without(text, gone)) == {key: item for key, item in value.items() if key not in gone}
    assert without(text, more - value.keys()) == text


@given(st.lists(values, max_size=6), st.sets(st.integers(0, 6)), layouts)
@FUZZ
def test_taking_items_out(value: list[Any], gone: set[int], indent: int | None) -> None:
    """What is left are the others, in order."""
    text = json.dumps(value, indent=indent)
    kept = [item for place, item in enumerate(value) if place not in gone]
    assert loads(without_items(text, gone)) == kept


@given(objects, layouts)
@FUZZ
def test_setting_a_member(value: dict[str, Any], indent: int | None) -> None:
    """It is set in place or added, and reads as what was given."""
    text = json.dumps(value, indent=indent)
    for key in [*value, "ttlMs"]:
        assert loads(with_value(text, key, '{"n":[1]}')) == {**value, key: {"n": [1]}}


def test_every_other_byte_stays() -> None:
    """Odd numbers, escapes and white space are left as they are written."""
    text = '{ "n" : 1.0e2 ,"a":"\\u0041" , "big":12345678901234567890 }'
    assert with_value(text, "a", '"B"') == '{ "n" : 1.0e2 ,"a":"B" , "big":12345678901234567890 }'
    assert without(text, ["a"]) == '{ "n" : 1.0e2,"big":12345678901234567890 }'
    assert value_of(text, "n") == "1.0e2"
    assert value_of(text, "m") is None
    assert with_values("{}", {"a": "1", "b": "[2]"}) == '{"a":1,"b":[2]}'


def test_text_is_not_taken_for_structure() -> None:
    """Brackets, commas and quotes inside strings mean nothing."""
    text = '{"a":"},{\\"b\\":[","c":[{"d":"]"}]}'
    assert [span.key for span in members(text)] == ["a", "c"]
    assert orjson.loads(without(text, {"a"})) == {"c": [{"d": "]"}]}


@pytest.mark.parametrize("text", ["{}", " { } ", "[]", " [ ] "])
def test_what_is_empty_has_no_parts(text: str) -> None:
    """Empty containers have none."""
    assert (members(text) if "{" in text else items(text)) == []
