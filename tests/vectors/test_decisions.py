"""The golden decisions of `vectors/v0`, each with its verdict, reasons, rules, questions and digests."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import orjson
import pytest

from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.canon import canonical_bytes
from tests.kit import reference
from tests.kit.vectors import BUILT_IN, ROOT, built_in, cases, decide_case, drift, policy_of, themes


def schema(name: str) -> jsonschema.Draft202012Validator:
    """Return the validator of one public schema."""
    return jsonschema.Draft202012Validator(orjson.loads((ROOT / f"schemas/{name}.v0.json").read_bytes()))


RECORD_SCHEMA, REQUEST_SCHEMA, POLICY_SCHEMA = map(schema, ("decision_record", "decision_request", "policy"))


@pytest.mark.parametrize("path", themes(), ids=lambda path: path.stem)
def test_decisions_do_not_drift(path: Path) -> None:
    """Every golden case of a theme gives exactly what it gave when it was written down."""
    lines = [line for case in cases(path) for line in drift(case)]
    assert not lines, "\n".join(["drift:", *lines])


@pytest.mark.parametrize("path", themes(), ids=lambda path: path.stem)
def test_reference_agrees_on_golden_cases(path: Path) -> None:
    """The reference evaluator, which shares no code, expects the same of the policies as documents."""
    for case in cases(path):
        document = policy_of(case).shape.root.value
        score = case.get("memory", {}).get("failure_score", 0.0)
        expected = reference.decide(document, case["request"], score)
        assert expected["verdict"] == case["expect"]["verdict"], case["name"]
        assert expected["reason_codes"] == case["expect"]["reason_codes"], case["name"]


@pytest.mark.parametrize("path", themes(), ids=lambda path: path.stem)
def test_golden_records_replay_and_fit_the_schema(path: Path) -> None:
    """Each golden record is canonical, fits its schema and replays to the same bytes from itself."""
    for case in cases(path):
        policy = policy_of(case)
        decision = decide_case(case, policy)
        record = decision.record
        assert canonical_bytes(record) == decision.body, case["name"]
        assert not list(RECORD_SCHEMA.iter_errors(record)), case["name"]
        again = replay(record, policy, recorded_advice(record))
        assert again.identical, (case["name"], again.differences)
        assert again.decision.body == decision.body, case["name"]


@pytest.mark.parametrize("path", themes(), ids=lambda path: path.stem)
def test_cases_fit_the_schemas(path: Path) -> None:
    """Every request and every policy of the corpus, built in or carried, is valid by its schema."""
    for case in cases(path):
        assert not list(REQUEST_SCHEMA.iter_errors(case["request"])), case["name"]
        assert not list(POLICY_SCHEMA.iter_errors(policy_of(case).shape.root.value)), case["name"]


def test_every_rule_of_every_pack_decides_somewhere() -> None:
    """No rule of the built-in policies is without a golden case that matches it."""
    matched: dict[str, set[str]] = {}
    for path in themes():
        for case in cases(path):
            if isinstance(case["policy"], str):
                rows = case["expect"]["matched_rules"]
                matched.setdefault(case["policy"], set()).update(row["rule_id"] for row in rows)
    for name, ids in matched.items():
        assert {rule.rule_id for rule in built_in(name).rules} <= ids, name
    assert len(matched) == len(BUILT_IN)


def test_there_are_enough_cases() -> None:
    """The corpus does not shrink: at least 300 hand-made decisions, each named once in its theme."""
    names = [(path.stem, case["name"]) for path in themes() for case in cases(path)]
    assert len(names) == len(set(names))
    assert len(names) >= 300
