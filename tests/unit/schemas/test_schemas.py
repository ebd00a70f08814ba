"""The published schemas hold together."""

import json
import re
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

NAMES = ["decision_request.v0", "decision_record.v0", "policy.v0", "events.v0", "decision_pack.v0"]


def _load(name):
    return json.JSONDecoder().decode(files("schemas").joinpath(f"{name}.json").read_text())


DIGEST = "sha256:" + "0" * 64
REQUEST = {
    "schema_version": "decision_request.v0",
    "subject": {"type": "job", "id": "j"},
    "action": {"type": "demo.act", "intent": "Act"},
    "context": {"mode": "digest_only", "digest": DIGEST},
}
RECORD = {
    "schema_version": "decision_record.v0",
    "decision_id": "01HV4ZJ8Q4V5N3TQW9D7C2K6XA",
    "created_at": "2026-01-01T00:00:00Z",
    "request": REQUEST,
    "policy": {"policy_id": "p", "policy_version": "1", "policy_hash": DIGEST, "mode": "enforce"},
    "verdict": "ESCALATE",
    "reason_codes": ["NO_MATCH_DEFAULT_ESCALATE"],
    "matched_rules": [{"rule_id": "DEFAULT", "stage": "DEFAULT", "effect": "ESCALATE", "reason_codes": []}],
    "risk_signals": {"uncertainty_score": 0.2, "failure_similarity": {"score": 0, "top_k": []}},
    "queries": [],
    "obligations": [],
    "determinism": {"engine_version": "1", "evaluation_order": ["REQUIREMENTS"], "inputs_digest": DIGEST},
    "extensions": {},
}
POLICY = {
    "schema_version": "policy.v0",
    "policy_id": "p",
    "policy_version": "1",
    "defaults": {"mode": "enforce", "default_verdict": "ESCALATE", "default_reason_code": "X"},
    "rules": [
        {"id": "A", "stage": "TRUST_PATHS", "then": {"verdict": "TRUST", "reason_codes": ["CREDIT_SMALL"]}}
    ],
}
EVENT = {
    "event_id": "e",
    "decision_id": "d",
    "at": "2026-01-01T00:00:00Z",
    "type": "label",
    "data": {"label": "failure"},
}
PACK = {"decision_record.json": RECORD, "request.json": REQUEST, "policy.yml": "", "later.json": 1}
GOOD = dict(zip(NAMES, [REQUEST, RECORD, POLICY, EVENT, PACK], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_a_schema(name):
    """Each file is a valid schema of draft 2020-12 and says which contract it is."""
    schema = _load(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:lumyn:schema:{name}"


@pytest.mark.parametrize("name", NAMES)
def test_example(name):
    """An example is valid, and not any more with a foreign field or without a required one."""
    validator = Draft202012Validator(_load(name))
    good = GOOD[name]
    validator.validate(good)
    assert name == "decision_pack.v0" or not validator.is_valid({**good, "foreign": 1})
    for key in _load(name)["required"]:
        assert not validator.is_valid({k: v for k, v in good.items() if k != key})


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("decision_record.v0", ("reason_codes",), []),
        ("decision_record.v0", ("verdict",), "DENY"),
        ("decision_record.v0", ("request",), {}),
        ("policy.v0", ("policy_version",), 1.0),
        ("policy.v0", ("rules",), []),
        ("events.v0", ("type",), "approval"),
        ("events.v0", ("data",), {"label": "bad"}),
        ("decision_pack.v0", ("decision_record.json",), {}),
    ],
)
def test_counterexample(name, path, value):
    """What the contract forbids is invalid, also inside an embedded contract."""
    validator = Draft202012Validator(_load(name))
    assert not validator.is_valid({**GOOD[name], path[0]: value})


def test_embedded_schemas_are_the_published_ones():
    """The record embeds the request's schema, the pack the record's, word for word."""
    assert _load("decision_record.v0")["$defs"]["decision_request.v0"] == _load("decision_request.v0")
    assert _load("decision_pack.v0")["$defs"]["decision_record.v0"] == _load("decision_record.v0")


def test_readme_names_every_file():
    """The folder's README lists every contract in it."""
    text = files("schemas").joinpath("README.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_.0-9]+\.json)`", text, re.MULTILINE))
    assert listed == {entry.name for entry in files("schemas").iterdir() if entry.name.endswith(".json")} - {
        "openapi.json"
    }
