"""Simulated arguments fit the schemas they are drawn from."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.schema_values import SchemaValues

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
