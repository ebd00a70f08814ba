"""The types of the library's results say what the schema says."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.embed import typed

SCHEMA = orjson.loads(Path("schemas/decision_record.v0.json").read_bytes())["properties"]


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (typed.DecisionRecord, {"properties": SCHEMA}),
        (typed.PolicyRef, SCHEMA["policy"]),
        (typed.MatchedRule, SCHEMA["matched_rules"]["items"]),
        (typed.RiskSignals, SCHEMA["risk_signals"]),
        (typed.FailureSimilarity, SCHEMA["risk_signals"]["properties"]["failure_similarity"]),
        (typed.Query, SCHEMA["queries"]["items"]),
        (typed.Determinism, SCHEMA["determinism"]),
        (typed.Explanation, SCHEMA["explanation"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_type_has_the_members_of_its_schema(kind: type, schema: dict) -> None:
    """No member of the schema is missing in the type, and none is invented."""
    assert set(kind.__annotations__) == set(schema["properties"])
