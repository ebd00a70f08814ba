"""DecisionRequests, against the schema, and every refusal with its place and its sentence."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.kernel.errors import InvalidRequestError, MalformedRequestError
from gateway.kernel.pointer import resolve
from gateway.records.request import read_request, validate_request

SCHEMA = json.JSONDecoder().decode(
    (Path(__file__).parents[4] / "schemas/decision_request.v0.json").read_text()
)
VALIDATOR = Draft202012Validator(SCHEMA)
DIGEST = "sha256:" + "0" * 64
FULL = {
    "schema_version": "decision_request.v0",
    "request_id": "r-1",
    "trace": {"correlation_id": "c", "span_id": "s"},
    "tenant": {"tenant_id": "acme", "environment": "prod"},
    "subject": {
        "type": "agent",
        "id": "bot",
        "tenant_id": "acme",
        "ip": "::1",
        "user_agent": "x",
        "roles": ["a"],
    },
    "action": {
        "type": "support.refund",
        "intent": "Refund order 1",
        "target": {"system": "stripe", "resource_type": "charge", "resource_id": "ch_1"},
        "amount": {"value": 42.5, "currency": "USD"},
        "tags": ["duplicate_charge"],
    },
    "evidence": {"ticket_id": "T-1", "nested": {"a": [1, None]}},
    "context": {
        "mode": "inline",
        "digest": DIGEST,
        "ref": {"kind": "k", "id": "i", "uri": "u"},
        "inline": {"a": 1},
        "redaction": {"profile": "default", "fields_removed": ["/context/inline/email"]},
    },
    "policy": {"policy_id": "p", "policy_version": "1", "mode": "advisory"},
    "hints": {"mode": "enforce", "dry_run": True},
    "extensions": {"x": 1},
}
MINIMAL = {
    "schema_version": "decision_request.v0",
    "subject": {"type": "job", "id": "j"},
    "action": {"type": "demo.act", "intent": "Act"},
    "context": {"mode": "digest_only", "digest": DIGEST},
}


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, index))


PATHS = [path for path in _paths(FULL) if path]
ODD_TEXTS = [
    "",
    "x",
    "USD",
    "enforce",
    "inline",
    "reference",
    "a.b",
    "A.b",
    "support.refund_x.1",
    "a_b.c",
    "agent",
]
ODD_TEXTS += ["staging", DIGEST.upper(), "sha256:" + "f" * 63]
ODD_VALUES = [None, True, False, 0, 1, -1, 0.5, -0.5, 2.0, 10**15, [], [""], [1], {}, {"a": 1}]
junk = st.sampled_from(ODD_TEXTS) | st.sampled_from(ODD_VALUES).map(copy.deepcopy)


def _mutate(document, path, change, value):
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    if change == "set":
        parent[path[-1]] = value
    elif change == "drop" and isinstance(parent, dict):
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent["unknown"] = value


@st.composite
def requests(draw):
    """A full or minimal request with up to three changes anywhere in it."""
    document = copy.deepcopy(draw(st.sampled_from([FULL, MINIMAL])))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from([path for path in _paths(document) if path] or [("x",)]))
        _mutate(document, path, draw(st.sampled_from(["set", "set", "drop", "add"])), draw(junk))
    return document


@settings(derandomize=True, max_examples=300, deadline=None)
@given(requests())
def test_same_verdict_as_the_schema(request):
    """The hand-written check accepts exactly what the published schema accepts."""
    try:
        validate_request(request)
    except InvalidRequestError:
        accepted = False
    else:
        accepted = True
    assert accepted == VALIDATOR.is_valid(request)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(requests())
def test_pointer_names_a_fault_of_the_schema(request):
    """A refusal points at a place that the schema complains of as well, and its sentence names it."""
    if VALIDATOR.is_valid(request):
        return
    with pytest.raises(InvalidRequestError) as caught:
        validate_request(request)
    error = caught.value
    faults = set()
    for fault in VALIDATOR.iter_errors(request):
        place = "".join(f"/{step}" for step in fault.absolute_path)
        faults.add(place)
        if fault.validator in {"required", "additionalProperties"}:
            faults.add(place + "/" + error.pointer.rpartition("/")[2])
    assert error.pointer in faults
    assert error.message.startswith(error.pointer or "the request")
    assert (error.status, error.reason_code) == (422, "INVALID_REQUEST_SCHEMA")
    assert error.hint


@pytest.mark.parametrize("request_", [FULL, MINIMAL])
def test_nothing_is_changed(request_):
    """A valid request comes back as it was sent: nothing filled in, nothing dropped."""
    assert read_request(json.dumps(request_).encode()) == request_
    assert validate_request(request_) is request_


@pytest.mark.parametrize("path", PATHS, ids=lambda path: "/".join(map(str, path)))
def test_every_field_is_checked(path):
    """No field of a closed object takes a value of a foreign type."""
    document = copy.deepcopy(FULL)
    if path[0] in {"evidence", "extensions"} and len(path) > 1:
        return
    if path[:2] == ("context", "inline") and len(path) > 2:
        return
    _mutate(document, path, "set", 3.5 if path[-1] != "value" else "3.5")
    with pytest.raises(InvalidRequestError) as caught:
        validate_request(document)
    assert caught.value.pointer == "".join(f"/{step}" for step in path)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("request_id",), "", "must not be empty"),
        (("schema_version",), "decision_request.v1", "must be decision_request.v0"),
        (("subject", "id"), "", "must not be empty"),
        (("subject", "type"), "robot", "one of service, agent, user, job"),
        (("action", "type"), "support.refund\n", "such as support.refund"),
        (("action", "type"), "support", "such as support.refund"),
        (("action", "type"), "sup_port.refund", "such as support.refund"),
        (("action", "type"), "support.", "such as support.refund"),
        (("action", "amount", "value"), True, "not a boolean"),
        (("action", "amount", "value"), "5", "not a string"),
        (("action", "amount", "value"), -0.01, "must not be negative"),
        (("action", "amount", "value"), 1e-50, "decimal places"),
        (("action", "amount", "currency"), "EURO", "three characters"),
        (("context", "digest"), DIGEST + "\n", "64 lower-case"),
        (("context", "digest"), DIGEST.upper(), "64 lower-case"),
        (("context", "redaction", "fields_removed", 0), 1, "must be a string"),
        (("hints", "dry_run"), 1, "must be true or false"),
        (("trace", "unknown"), 1, "not a field of the contract; known here: correlation_id, span_id"),
        (("evidence",), None, "must be an object, not null"),
    ],
)
def test_sentences(path, value, reason):
    """Each refusal says in one sentence which field is wrong and what it must be."""
    document = copy.deepcopy(FULL)
    _mutate(document, path, "set", value)
    with pytest.raises(InvalidRequestError) as caught:
        validate_request(document)
    assert reason in caught.value.message
    assert resolve(document, caught.value.pointer) == value


@pytest.mark.parametrize(("mode", "field"), [("reference", "ref"), ("inline", "inline")])
def test_mode_asks_for_its_field(mode, field):
    """A context by reference needs the reference, an inline one the content."""
    document = copy.deepcopy(MINIMAL)
    document["context"]["mode"] = mode
    with pytest.raises(InvalidRequestError) as caught:
        validate_request(document)
    assert caught.value.pointer == f"/context/{field}"


@pytest.mark.parametrize("value", [None, 1, "x", [], [MINIMAL], True])
def test_not_an_object(value):
    """What is no object is refused at the root."""
    with pytest.raises(InvalidRequestError, match="the request must be an object") as caught:
        validate_request(value)
    assert caught.value.pointer == ""


def test_errors_of_the_reader_come_through():
    """Broken bytes are malformed, refused values have their pointer, in a request as anywhere."""
    with pytest.raises(MalformedRequestError):
        read_request(b"{")
    text = json.dumps(FULL).replace("42.5", "42.50000000000000000001")
    with pytest.raises(InvalidRequestError) as caught:
        read_request(text.encode())
    assert caught.value.pointer == "/action/amount/value"


def test_python_values_become_plain():
    """A request built in Python with whole floats and tuples comes back as it would read from JSON."""
    document = copy.deepcopy(FULL)
    document["action"]["amount"]["value"] = 42.0
    document["action"]["tags"] = ("a", "b")
    plain = validate_request(document)
    assert repr(plain["action"]["amount"]["value"]) == "42"
    assert plain["action"]["tags"] == ["a", "b"]


def test_long_names_do_not_come_back():
    """An unknown field with an endless name gives a short message."""
    with pytest.raises(InvalidRequestError) as caught:
        validate_request({**MINIMAL, "x" * 100_000: 1})
    assert len(caught.value.message) < 400
