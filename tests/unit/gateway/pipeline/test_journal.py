"""Entries as they are made for the store: the columns agree with the body, the body is canonical."""

from __future__ import annotations

import contextlib
import sqlite3

import orjson

from gateway.kernel.canon import canonical_bytes
from gateway.kernel.types import Tenant
from gateway.pipeline.announce import Announcer
from gateway.pipeline.journal import ControlJournal, decision_entry, event_entry
from gateway.records.agree import disagreement
from tests.kit.entries import START_MS, entry_id
from tests.kit.playbook import verdict


def test_a_decision_entry_is_the_decision() -> None:
    """Every column is the decision's own, or what was said of its request."""
    decision = verdict().decision
    entry = decision_entry(
        decision,
        tenant=Tenant("acme"),
        at_ms=START_MS,
        model="m",
        correlation_id="c",
        request_key="k",
        request_digest="sha256:" + "d" * 64,
        awaits_outcome=True,
    )
    assert (entry.entry_id, entry.body) == (decision.decision_id, decision.body)
    assert (entry.verdict, entry.reason_codes) == ("TRUST", ("LLM_REQUEST_OK",))
    assert (entry.action_type, entry.policy_hash) == (decision.action_type, decision.policy_hash)
    assert (entry.tenant, entry.at_ms, entry.model) == (Tenant("acme"), START_MS, "m")
    assert (entry.correlation_id, entry.request_key) == ("c", "k")
    assert entry.awaits_outcome


def test_what_is_not_known_is_none() -> None:
    """A decision without model, correlation or key has none in its columns."""
    entry = decision_entry(verdict().decision, tenant=Tenant(None), at_ms=0, awaits_outcome=False)
    assert (entry.model, entry.correlation_id, entry.request_key, entry.request_digest) == (None,) * 4


def test_an_event_entry_is_canonical_and_agrees_with_its_columns() -> None:
    """The body is RFC 8785 and says what the columns say."""
    entry = event_entry(
        event_id=entry_id(2),
        decision_id=entry_id(1),
        tenant=Tenant("acme"),
        at_ms=START_MS,
        event_type="outcome",
        data={"fate": "complete", "a": {"z": 1, "b": 2}},
    )
    value = orjson.loads(entry.body)
    assert entry.body == canonical_bytes(value)
    assert value["at"] == "2025-10-09T08:53:20Z"
    assert (value["event_id"], value["decision_id"], value["type"]) == (entry_id(2), entry_id(1), "outcome")
    assert disagreement(entry) is None


async def test_control_records_go_into_the_ledger(desk) -> None:
    """One entry each, canonical, of its kind; whoever notes does not wait."""
    journal = ControlJournal(desk.store, desk.clock, desk.ids, Announcer(desk.clock))
    change = {"reason": "x", "after": "bypass", "at_s": 1.5, "before": "active", "share": 1.0}
    journal.note("mode", change)
    await desk.store.close()
    journal.note("mode", change)
    with contextlib.closing(sqlite3.connect(desk.store._path)) as connection:
        rows = connection.execute("SELECT label, body FROM entries WHERE kind = 'control'").fetchall()
    assert rows == [("mode", b'{"after":"bypass","at_s":1.5,"before":"active","reason":"x","share":1}')]
