"""Setting members of a body: what is named changes, every other byte stays."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.rewrite import with_members


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
