"""Setting members of a body: what is named changes, every other byte stays."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.rewrite import with_members, without_members


@pytest.mark.parametrize(
    ("body", "members", "wanted"),
    [
        (b'{"model":"a","n":1.0}', {"model": "b"}, b'{"model":"b","n":1.0}'),
        (b'{ "x" : [1e3,{"model":"a"}] , "model" : "a" }', {"model": "b"}, None),
        (b'{"max_tokens": 100 }', {"max_tokens": 7}, b'{"max_tokens": 7 }'),
        (b"{}", {"model": "b"}, b'{"model":"b"}'),
        (b' {"a":{}}', {"max_tokens": 1}, b' {"max_tokens":1,"a":{}}'),
        (b'{"m\\u006fdel":"a"}', {"model": "b"}, b'{"m\\u006fdel":"b"}'),
        (b'{"model":"a","model":"c"}', {"model": "b"}, b'{"model":"b","model":"b"}'),
        (b'{"a":"model\\":","model":null}', {"model": "b"}, b'{"a":"model\\":","model":"b"}'),
    ],
)
def test_only_what_is_named_changes(body: bytes, members: dict[str, int | str], wanted: bytes | None) -> None:
    """Spelling, order, white space and nested members of the same name stay as they came."""
    changed = with_members(body, members)
    assert changed == (wanted or b'{ "x" : [1e3,{"model":"a"}] , "model" : "b" }')


VALUES = st.sampled_from(
    [None, True, -3, "", "a\\", '"', [], {}, [{"model": 1}], {"model": {"max_tokens": [2, ","]}}, "é:{"]
)


@given(st.dictionaries(st.sampled_from(["model", "max_tokens", "a", 'q"', "\\"]), VALUES))
@settings(max_examples=200)
def test_it_reads_as_the_object_with_the_members_set(value: dict[str, object]) -> None:
    """For any object the result is what a reader and a writer would have made, and once is enough."""
    members: dict[str, int | str] = {"model": "b", "max_tokens": 3}
    changed = with_members(orjson.dumps(value), members)
    assert orjson.loads(changed) == value | members
    assert with_members(changed, members) == changed


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"priority":1,"n":1.0}', b'{"n":1.0}'),
        (b'{ "n" : 1.0 , "priority" : -3 }', b'{ "n" : 1.0 }'),
        (b'{"a":1 ,"priority":2, "b":3}', b'{"a":1, "b":3}'),
        (b'{"priority":1,"a":1,"priority":2}', b'{"a":1}'),
        (b'{"priority":{"a":[1]}}', b"{}"),
        (b'{"a":{"priority":1}}', b'{"a":{"priority":1}}'),
        (b'{"prior\\u0069ty":1,"a":2}', b'{"a":2}'),
    ],
)
def test_only_what_is_named_is_taken_out(body: bytes, wanted: bytes) -> None:
    """First, in the middle, last, twice or escaped; nested members of the same name stay."""
    assert without_members(body, ("priority",)) == wanted


@given(st.dictionaries(st.sampled_from(["priority", "max_tokens", "a", 'q"', "\\"]), VALUES))
@settings(max_examples=200)
def test_it_reads_as_the_object_without_the_members(value: dict[str, object]) -> None:
    """For any object, spelt tight or wide, the result is what is left of it."""
    left = {name: item for name, item in value.items() if name not in {"priority", "a"}}
    for body in (orjson.dumps(value), orjson.dumps(value, option=orjson.OPT_INDENT_2)):
        assert orjson.loads(without_members(body, ("priority", "a"))) == left
