"""What the gateway finds by itself is decided by its own policy, in every mode, and can be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.engine.decide import Stamp
from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.types import Mode, Verdict
from gateway.pipeline.gatehouse import Finding, decide_finding, gate_entries, gate_policies
from gateway.records.reasons import is_reason_code

STAMP = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)
LET_GO = {Finding.FIRST_SEEN, Finding.ACCEPTED}


def request(action_type: str = "mcp.pin_tool", **more: Any) -> dict[str, Any]:
    """A request about something that was found."""
    return {
        "schema_version": "decision_request.v0",
        "subject": {"id": "a", "type": "service"},
        "action": {"type": action_type, "intent": "x"},
        "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
        **more,
    }


@pytest.mark.parametrize("finding", list(Finding))
def test_each_finding_has_its_rule(finding: Finding) -> None:
    """One rule matches, with a code of the registry; only pins that an operator or a first look makes go."""
    record = decide_finding(request(), finding, STAMP).record
    [matched] = record["matched_rules"]
    assert matched["stage"] != "DEFAULT"
    assert is_reason_code(record["reason_codes"][0])
    assert (record["verdict"] == "TRUST") is (finding in LET_GO)


@pytest.mark.parametrize("finding", sorted(LET_GO | {Finding.CHANGED}))
def test_words_about_pins_let_no_call_go(finding: Finding) -> None:
    """On any other action type they are no reason for anything."""
    decision = decide_finding(request("shop.refund"), finding, STAMP)
    assert decision.verdict is Verdict.ABSTAIN


def test_a_finding_is_enforced_whatever_the_request_asks_for() -> None:
    """Advisory mode is about policies: what contradicts itself goes nowhere."""
    asks = request(policy={"mode": "advisory"}, evidence={"gate_finding": "first_seen", "a": 1})
    decision = decide_finding(asks, Finding.STATE_INVALID, STAMP, extensions={"mcp": {"server": "shop"}})
    assert decision.mode is Mode.ENFORCE
    assert not decision.forwardable
    assert decision.record["request"]["evidence"] == {"a": 1, "gate_finding": "state_invalid"}
    assert decision.record["extensions"]["mcp"] == {"server": "shop"}


def test_a_decision_of_the_gate_can_be_made_again() -> None:
    """Its policy is kept, and gives the same bytes."""
    record = decide_finding(request(), Finding.FIRST_SEEN, STAMP).record
    [entry] = gate_entries(STAMP.at_ms)
    assert entry.entry_id == record["policy"]["policy_hash"]
    assert replay(record, gate_policies().main, recorded_advice(record)).identical


def test_no_working_directory_replaces_the_gates_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of that name where the gateway is started is nobody's policy."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/gate.v0.yml").write_text("schema_version: nonsense")
    monkeypatch.chdir(tmp_path)
    gate_policies.cache_clear()
    assert gate_policies().main.policy_id == "lumyn-gate"
