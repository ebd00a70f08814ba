"""Columns against bodies: each contradiction is named, and the quick look never passes one."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from gateway.kernel.types import Tenant
from gateway.records.agree import disagreement, plainly_agrees
from gateway.records.types import DecisionEntry
from tests.kit.entries import control, decision, event, memory_item, policy


def quick(entry: DecisionEntry) -> bool:
    return plainly_agrees(
        entry.body, entry.entry_id, entry.tenant.tenant_id, entry.action_type, entry.verdict,
        orjson.dumps(entry.reason_codes).decode(), entry.policy_hash, entry.correlation_id, entry.request_key,
    )  # fmt: skip


FULL = decision(1, tenant=Tenant("acme"), request_key="k")


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("entry_id", "X", "decision_id"),
        ("tenant", Tenant("other"), "tenant"),
        ("action_type", "x.y", "action_type"),
        ("verdict", "QUERY", "verdict"),
        ("reason_codes", ("OTHER",), "reason_codes"),
        ("policy_hash", "sha256:x", "policy_hash"),
        ("correlation_id", "x", "correlation_id"),
        ("request_key", "x", "request_key"),
        ("body", b"[]", "the body is no JSON object"),
        ("body", b"{", "the body is no JSON object"),
    ],
)
def test_each_contradiction_is_named(column: str, value: object, name: str) -> None:
    """A column that says other than the body is found by both looks."""
    assert disagreement(FULL) is None
    assert quick(FULL)
    changed = dataclasses.replace(FULL, **{column: value})
    assert disagreement(changed) == name
    assert not quick(changed)


def test_what_a_body_leaves_out_is_no_contradiction() -> None:
    """An empty body contradicts nothing; the quick look leaves it to the other."""
    assert disagreement(dataclasses.replace(FULL, body=b"{}")) is None
    assert not quick(dataclasses.replace(FULL, body=b"{}"))
    assert not quick(dataclasses.replace(FULL, body=b'{"request": 1}'))
    assert disagreement(policy()) is disagreement(control(1)) is None


def test_events_and_memory_items_too() -> None:
    """Ids, types and labels of events and memory items are held against their bodies."""
    assert disagreement(event(1, "D")) is None
    assert disagreement(dataclasses.replace(event(1, "D"), decision_id="E")) == "decision_id"
    assert disagreement(dataclasses.replace(event(1, "D"), event_type="note")) == "type"
    labelled = dataclasses.replace(memory_item(1), body=b'{"label":"success"}')
    assert disagreement(labelled) == "label"
