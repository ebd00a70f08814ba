"""Simulated arguments fit the schemas they are drawn from."""

from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.config import ToolValues
from controller.llmd.sim.schema_values import VALUES_MAX, SchemaValues

SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
    {"type": "array", "items": {"type": "number", "minimum": 3, "maximum": 4}, "minItems": 2},
    {"enum": ["x", "y"]},
    {"const": 7},
    {"type": ["integer", "null"], "exclusiveMinimum": 5, "exclusiveMaximum": 9},
    {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"n": {"type": "null"}}}}},
    {"type": "string", "minLength": 3, "maxLength": 5},
    {"type": "string", "format": "date-time"},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "enum", "$ref", "minimum", "minItems", "anyOf", "required"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_values_fit_their_schema(schema):
    """Twenty draws of each validate."""
    for key in range(20):
        jsonschema.validate(SchemaValues(1, str(key), schema).value(schema), schema)


def test_a_schema_that_contains_itself_ends():
    """Recursion is bounded."""
    schema = {
        "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}}
    }
    schema["$ref"] = "#/$defs/n"
    assert SchemaValues(1, "k", schema).value(schema)


@given(JSON)
def test_no_schema_raises(schema):
    """Callers send anything; some value comes out, the same each time."""
    assert SchemaValues(1, "k", schema).value(schema) == SchemaValues(1, "k", schema).value(schema)


def test_bounds_decide_what_a_schema_leaves_open():
    """Integers, numbers, lengths, optional parameters; the schema's own bounds come first."""
    bounds = ToolValues(
        integer_min=3,
        integer_max=5,
        number_min=-2,
        number_max=-1,
        array_min=2,
        array_max=3,
        optional_param_rate=1,
    )
    schema = {
        "type": "object",
        "properties": {
            "count": {"type": "integer"},
            "share": {"type": "number"},
            "list": {"type": "array", "items": {"type": "integer"}},
            "own": {"type": "integer", "minimum": 10},
            "few": {"type": "array", "items": {}, "maxItems": 1},
            "inner": {"type": "object", "properties": {"field": {"type": "null"}}},
        },
    }
    drawn = [SchemaValues(1, str(key), schema, bounds).value(schema) for key in range(200)]
    assert {value["count"] for value in drawn} == {3, 4, 5}
    assert all(-2 <= value["share"] <= -1 for value in drawn)
    assert {len(value["list"]) for value in drawn} == {2, 3}
    assert {value["own"] for value in drawn} == {10, 11, 12}
    assert {len(value["few"]) for value in drawn} == {1}
    assert {len(value["inner"]) for value in drawn} == {0, 1}
    never = replace(bounds, optional_param_rate=0)
    assert SchemaValues(1, "k", schema, never).value(schema) == {}


def test_nested_arrays_are_bounded_together():
    """A schema that asks for a thousand in a thousand does not get a million."""
    schema = {"type": "array", "minItems": 1000, "items": {"type": "array", "minItems": 1000, "items": {}}}
    value = SchemaValues(1, "k", schema).value(schema)
    assert sum(len(each) for each in value if isinstance(each, list)) <= VALUES_MAX
