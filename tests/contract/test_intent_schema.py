"""schemas/intent.v1.json and the reader agree: what one refuses for its shape, so does the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.intent import InvalidIntentError, read_intents
from tests.kit.control import catalogue

SCHEMA = json.JSONDecoder().decode(Path("schemas/intent.v1.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

junk = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=3)
good: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text("abc", min_size=1, max_size=5),
    "service_class": st.sampled_from(["critical", "flex"]),
    "priority": st.integers(-5, 5),
    "weight": st.floats(0.01, 10),
    "bias": st.sampled_from(["quality", "balanced"]),
    "latency": st.fixed_dictionaries({}, optional={"ttft_ms": st.floats(1, 99), "hard": st.booleans()}),
    "quality": st.fixed_dictionaries({}, optional={"models": st.just(["large", "mid"])}),
    "output": st.fixed_dictionaries({}, optional={"max_tokens": st.integers(1, 99)}),
    "cost": st.fixed_dictionaries({}, optional={"budget": st.just({"usd": 1, "window": "1d"})}),
    "on_pressure": st.just(["shed", "cap_tokens"]),
    "match": st.fixed_dictionaries({}, optional={"tenant": st.text("ab", min_size=1)}),
}
fields = {name: strategy | junk for name, strategy in good.items()}
documents = st.lists(st.fixed_dictionaries({}, optional={**fields, "extra": junk}), max_size=1)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


@settings(derandomize=True, max_examples=400, deadline=None)
@given(documents)
def test_schema_and_reader_agree(document: list[Any]) -> None:
    """A document is well shaped for the schema exactly if the reader compiles it (nulls count as absent)."""
    document = _without_nulls(document)
    try:
        read_intents(document, catalogue())
        compiled = True
    except InvalidIntentError:
        compiled = False
    assert VALIDATOR.is_valid(document) == compiled


@settings(derandomize=True, max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries(
        {"name": good["name"]}, optional={key: value for key, value in good.items() if key != "name"}
    )
)
def test_well_shaped_documents_are_compiled(document: dict[str, Any]) -> None:
    """The agreement is not one of refusing everything."""
    assert VALIDATOR.is_valid([document])
    assert read_intents([document], catalogue()).intents[0].name == document["name"]


def test_the_schema_is_a_schema() -> None:
    """It validates against its own draft."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate([{}])
