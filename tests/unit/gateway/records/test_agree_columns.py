"""Columns are held against bodies, and what a body leaves out is no contradiction."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from gateway.kernel.types import Tenant
from gateway.records.agree import disagreement
from gateway.records.types import Entry
from tests.kit.entries import control, decision, event, memory_item, policy

WHOLE = decision(1, tenant=Tenant("acme"), request_key="key")


@pytest.mark.parametrize(
    "entry", [WHOLE, decision(2), event(1, "D"), memory_item(1), policy(), control(1)], ids=repr
)
def test_what_was_written_well_agrees(entry: Entry) -> None:
    """An entry of each kind whose columns come from its body has no disagreement."""
    assert disagreement(entry) is None


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("entry_id", "other", "decision_id"),
        ("verdict", "QUERY", "verdict"),
        ("reason_codes", ("OTHER",), "reason_codes"),
        ("policy_hash", "sha256:other", "policy_hash"),
        ("action_type", "other", "action_type"),
        ("tenant", Tenant("other"), "tenant"),
        ("correlation_id", "other", "correlation_id"),
        ("request_key", "other", "request_key"),
    ],
)
def test_each_column_of_a_decision_is_held_against_its_body(column: str, value: object, name: str) -> None:
    """A column that says something else than the record is named."""
    assert disagreement(dataclasses.replace(WHOLE, **{column: value})) == name


@pytest.mark.parametrize(
    ("entry", "column", "name"),
    [
        (event(1, "D"), "entry_id", "event_id"),
        (event(1, "D"), "decision_id", "decision_id"),
        (event(1, "D"), "event_type", "type"),
        (
            dataclasses.replace(
                memory_item(1), body=b'{"memory_id":"%b"}' % memory_item(1).entry_id.encode()
            ),
            "entry_id",
            "memory_id",
        ),
        (dataclasses.replace(memory_item(1), body=b'{"label":"failure"}'), "label", "label"),
        (
            dataclasses.replace(memory_item(1), body=b'{"action_type":"support.refund"}'),
            "action_type",
            "action_type",
        ),
    ],
)
def test_each_column_of_events_and_memory_is_held_too(entry: Entry, column: str, name: str) -> None:
    """So are those of events and memory items."""
    assert disagreement(entry) is None
    assert disagreement(dataclasses.replace(entry, **{column: "other"})) == name


@pytest.mark.parametrize("body", [b"[]", b"no json", b"", b'"text"'])
@pytest.mark.parametrize("entry", [decision(1), event(1, "D"), memory_item(1)], ids=lambda entry: entry.kind)
def test_a_body_that_is_no_object_is_a_disagreement(entry: Entry, body: bytes) -> None:
    """What cannot be read as an object contradicts every column."""
    assert disagreement(dataclasses.replace(entry, body=body)) == "the body is no JSON object"


def test_what_a_body_leaves_out_is_no_contradiction() -> None:
    """A column beside a body that is silent on it, or holds something odd there, agrees."""
    assert disagreement(dataclasses.replace(WHOLE, body=b"{}")) is None
    odd = orjson.dumps({"request": [], "policy": "x", "trace": None})
    assert disagreement(dataclasses.replace(WHOLE, body=odd)) is None
