"""The reference's encoding, on the worked examples that its records give."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.errors import RecordError
from gateway.records.legacy import (
    differences,
    legacy_bytes,
    legacy_derived,
    legacy_digest,
    legacy_inputs_digest,
    read_legacy,
)

POLICY = {
    "schema_version": "policy.v0",
    "policy_id": "p",
    "policy_version": "1",
    "defaults": {
        "mode": "enforce",
        "default_verdict": "ESCALATE",
        "default_reason_code": "NO_MATCH_DEFAULT_ESCALATE",
    },
    "rules": [
        {"id": "A", "stage": "TRUST_PATHS", "then": {"verdict": "TRUST", "reason_codes": ["CREDIT_SMALL"]}}
    ],
}
REQUEST = {
    "schema_version": "decision_request.v0",
    "request_id": "ex-1",
    "subject": {"type": "job", "id": "j1"},
    "action": {"type": "demo.act", "intent": 'Café "x"\n', "amount": {"value": 5, "currency": "EUR"}},
    "evidence": {"fx_rate_to_usd": 1.1, "failure_similarity_score": 0.0},
    "context": {
        "mode": "digest_only",
        "digest": "sha256:" + "0" * 64,
        "redaction": {"profile": "default", "fields_removed": []},
    },
}
POLICY_HASH = "sha256:2bf70e735d4d01fb6598d490fa83d497ff3fef4bc99d4df453d7d9290d866166"
INPUTS_DIGEST = "sha256:2a01b4d1acd257113cd8bcea7e3327b562beeab479da73c57bd2f0935ca40eb0"
SERVICE_DIGEST = "sha256:96d2e06886b8ff69e3ae31019a74467b491cfaaa40e9fb58f73a9229ecb1eb2d"
RECORD = {
    "request": REQUEST,
    "determinism": {"inputs_digest": INPUTS_DIGEST},
    "policy": {"policy_hash": POLICY_HASH},
}


def test_worked_policy_hash():
    """The check value of a policy hash comes out."""
    assert legacy_digest(POLICY) == POLICY_HASH


def test_worked_inputs_digest():
    """The two check values of an inputs digest come out, also of the request as read from a file."""
    assert legacy_inputs_digest(REQUEST) == INPUTS_DIGEST
    read = read_legacy(json.dumps(REQUEST, indent=2).encode())
    assert legacy_inputs_digest(read) == INPUTS_DIGEST
    assert legacy_inputs_digest({**REQUEST, "policy": {"mode": "enforce"}}) == SERVICE_DIGEST


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("12", "12"),
        ("12.0", "12.0"),
        ("1e5", "100000.0"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("1.5e16", "1.5e+16"),
        ("0.00001", "1e-05"),
        ("-0.0", "-0.0"),
        ("1e400", "Infinity"),
        ("NaN", "NaN"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        (r'"\u0001\n\/\u007f\u2028"', '"\\u0001\\n/\x7f\u2028"'),
        ('{"\uffff":1,"\U0001f600":2}', '{"\uffff":1,"\U0001f600":2}'),
        ('{"a":1,"a":2}', '{"a":2}'),
    ],
)
def test_spelling(text, spelled):
    """Numbers, escapes and the order of keys are spelled as the reference does."""
    assert legacy_bytes(read_legacy(text.encode())) == spelled.encode()


@pytest.mark.parametrize(
    ("amount", "evidence", "derived"),
    [
        ({"value": 12, "currency": "USD"}, {}, ("USD", 12.0, 12.0, False)),
        ({"value": 5, "currency": "EUR"}, {"fx_rate_to_usd": True}, ("EUR", 5.0, 5.0, True)),
        ({"value": 5, "currency": "EUR"}, {"fx_rate_to_usd": "1.1"}, ("EUR", None, 5.0, False)),
        ({"value": 5, "currency": "usd"}, {}, ("usd", None, 5.0, False)),
        ({"value": 5}, {}, (None, None, 5.0, False)),
        ({}, {"fx_rate_to_usd": 2}, (None, None, None, True)),
    ],
)
def test_derived(amount, evidence, derived):
    """Derived values are the reference's, with its floats and its booleans that count as numbers."""
    request = {"action": {"type": "a.b", "amount": amount}, "evidence": evidence}
    names = ("amount_currency", "amount_usd", "amount_value", "fx_rate_to_usd_present")
    assert legacy_derived(request) == {"action_type": "a.b", **dict(zip(names, derived, strict=True))}


def test_differences():
    """A whole record shows none; a changed request, digest or policy is named."""
    assert differences(RECORD, POLICY) == ()
    changed = copy.deepcopy(RECORD)
    changed["request"]["action"]["amount"]["value"] = 5.0
    assert [line.partition(" ")[0] for line in differences(changed, POLICY)] == ["inputs_digest"]
    assert [line.partition(" ")[0] for line in differences(RECORD, {**POLICY, "x": 1})] == ["policy_hash"]
    assert differences(RECORD, None) == ()
    assert len(differences({}, POLICY)) == 2
    assert len(differences([], POLICY)) == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b'{"a":' * 200 + b"1" + b"}" * 200],
    ids=range(6),
)
def test_what_cannot_be_read(data):
    """Bytes that the reference cannot have written are a record error."""
    with pytest.raises(RecordError, match="cannot be read"):
        read_legacy(data)


@pytest.mark.parametrize("value", ["\ud800", {1: 1, "a": 2}, {"a": object()}, {"request": {1, 2}}])
def test_what_cannot_be_spelled(value):
    """Values without a spelling in the reference's encoding are a record error."""
    with pytest.raises(RecordError):
        legacy_digest(value)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
        max_leaves=8,
    )
)
def test_spelling_is_stable(value):
    """What is spelled reads back and has the same spelling again, for any value of Python's JSON."""
    spelled = legacy_bytes(value)
    assert legacy_bytes(read_legacy(spelled)) == spelled
