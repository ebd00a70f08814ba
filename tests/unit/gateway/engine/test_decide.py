"""The decision and its record."""

from __future__ import annotations

import ast
from pathlib import Path

import orjson
import pytest

from gateway.engine import decide as module
from gateway.engine.decide import Decision, EngineSettings, Stamp, abstain_on_storage, decide
from gateway.kernel.canon import canonical_bytes, digest
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import Mode
from gateway.memory.types import NO_ADVICE, NO_SNAPSHOT, MemoryAdvice, MemoryHit
from gateway.policy.select import PolicySet
from gateway.records.redact import redact_request
from gateway.records.request import read_request
from tests.kit.vectors import built_in

POLICIES = PolicySet(built_in("support"), (built_in("llm"), built_in("billing")))
STAMP = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_999)
REQUEST = {
    "schema_version": "decision_request.v0",
    "request_id": "r-1",
    "trace": {"span_id": "s", "correlation_id": "c"},
    "subject": {"type": "agent", "id": "bot"},
    "action": {"type": "support.update_ticket", "intent": "note the call"},
    "evidence": {"ticket_id": "t"},
    "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
}


def run(request: dict = REQUEST, **more: object) -> Decision:
    """Decide under the built-in policies."""
    arguments = {"advice": NO_ADVICE, "settings": EngineSettings(), "stamp": STAMP, **more}
    return decide(request, policies=POLICIES, **arguments)


def test_the_record_is_that_of_the_contract() -> None:
    """Every member of a plain record, with nothing added to the request but what redaction notes."""
    decision = run()
    support = built_in("support")
    features = {
        "action_type": "support.update_ticket",
        "amount_currency": None,
        "amount_usd": None,
        "amount_value": None,
        "failure_similarity_score": 0,
        "fx_rate_to_usd_present": False,
    }
    assert decision.record == {
        "schema_version": "decision_record.v0",
        "decision_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "created_at": "2023-11-14T22:13:20Z",
        "trace": {"correlation_id": "c", "span_id": "s"},
        "request": redact_request(REQUEST),
        "policy": {
            "policy_id": "lumyn-support",
            "policy_version": support.policy_version,
            "policy_hash": support.policy_hash,
            "mode": "enforce",
        },
        "verdict": "TRUST",
        "reason_codes": ["UPDATE_TICKET_OK"],
        "matched_rules": [
            {
                "rule_id": "R053",
                "stage": "TRUST_PATHS",
                "effect": "TRUST",
                "reason_codes": ["UPDATE_TICKET_OK"],
            }
        ],
        "risk_signals": {"uncertainty_score": 0.2, "failure_similarity": {"score": 0, "top_k": []}},
        "queries": [],
        "obligations": [
            {
                "type": "check",
                "title": "The ticket shows the update",
                "source": {"rule_id": "R053", "stage": "TRUST_PATHS"},
            }
        ],
        "explanation": {
            "summary": "support.update_ticket is trusted: R053 (UPDATE_TICKET_OK).",
            "details": ["TRUST_PATHS R053 says TRUST (UPDATE_TICKET_OK)"],
        },
        "determinism": {
            "engine_version": module.ENGINE_VERSION,
            "evaluation_order": ["REQUIREMENTS", "HARD_BLOCKS", "ESCALATIONS", "TRUST_PATHS", "DEFAULT"],
            "inputs_digest": decision.inputs_digest,
            "memory_snapshot": NO_SNAPSHOT,
        },
        "extensions": {"derived": features},
    }
    inputs = {"derived": features, "memory_snapshot": NO_SNAPSHOT, "request": redact_request(REQUEST)}
    assert decision.inputs_digest == digest(inputs)
    assert canonical_bytes(decision.record) == decision.body


def test_the_decision_says_what_its_record_says() -> None:
    """The fields one searches by are those of the body."""
    decision = run()
    record = decision.record
    assert decision.decision_id == record["decision_id"]
    assert decision.verdict == record["verdict"]
    assert list(decision.reason_codes) == record["reason_codes"]
    assert decision.action_type == record["request"]["action"]["type"]
    assert (decision.policy_hash, decision.mode) == (
        record["policy"]["policy_hash"],
        record["policy"]["mode"],
    )
    assert decision.forwardable


@pytest.mark.parametrize(
    ("action_type", "policy_id"),
    [
        ("support.refund", "lumyn-support"),
        ("llm.completion", "lumyn-llm"),
        ("billing.approve_spend", "lumyn-billing"),
    ],
)
def test_one_policy_decides(action_type: str, policy_id: str) -> None:
    """The record names the pack that knows the action, and no other."""
    request = {**REQUEST, "action": {"type": action_type, "intent": "x"}}
    assert run(request).record["policy"]["policy_id"] == policy_id


def test_whole_floats_make_the_same_bytes() -> None:
    """25.0 is 25, in the digest and in the record."""
    requests = [
        {
            **REQUEST,
            "evidence": {"ticket_id": "t", "n": n},
            "action": {**REQUEST["action"], "amount": {"value": n}},
        }
        for n in (25, 25.0)
    ]
    assert run(requests[0]).body == run(requests[1]).body


@pytest.mark.parametrize("member", ["request_id", "subject", "evidence", "trace"])
def test_the_inputs_digest_covers_the_request(member: str) -> None:
    """Another request has another digest, whatever differs."""
    other = {**REQUEST}
    del other[member]
    other.setdefault("subject", {"type": "user", "id": "u"})
    assert run(other).inputs_digest != run().inputs_digest


def test_the_inputs_digest_covers_memory() -> None:
    """Another snapshot or score has another digest; who is asked, when and in which mode do not matter."""
    snapshots = [MemoryAdvice(score, (), name) for score, name in ((0.0, "memory:1:a"), (0.1, "memory:1:a"))]
    assert len({run(advice=advice).inputs_digest for advice in (NO_ADVICE, *snapshots)}) == 3
    later = run(stamp=Stamp("01BX5ZZKBKACTAV9WEVGEMMVRZ", 0), settings=EngineSettings(mode=Mode.ADVISORY))
    assert later.inputs_digest == run().inputs_digest


def test_memory_stands_in_the_record() -> None:
    """The record carries the hits that were used, with their labels and words."""
    hits = (MemoryHit("m1", "failure", 0.6, "it failed"), MemoryHit("m2", "success", 0.25, "ü"))
    signals = run(advice=MemoryAdvice(0.6, hits, "memory:2:ab")).record["risk_signals"]
    assert signals["failure_similarity"] == {
        "score": 0.6,
        "top_k": [
            {"memory_id": "m1", "label": "failure", "score": 0.6, "summary": "it failed"},
            {"memory_id": "m2", "label": "success", "score": 0.25, "summary": "ü"},
        ],
    }
    assert signals["uncertainty_score"] == 0.5


def test_extensions_are_added_and_ours_win() -> None:
    """What the caller adds stands beside what the engine derives and cannot pose as it."""
    given = {"control": {"action": "PASSED", "score": 0.5}, "derived": "forged"}
    record = run({**REQUEST, "hints": {"dry_run": True}}, extensions=given).record
    assert record["extensions"]["control"] == given["control"]
    assert record["extensions"]["derived"]["action_type"] == "support.update_ticket"
    assert record["extensions"]["dry_run"] is True


@pytest.mark.parametrize(
    ("profile", "asked", "kept"), [("off", "strict", {}), ("default", None, {"a": 1}), ("strict", "off", {})]
)
def test_redaction_is_a_floor_and_changes_no_verdict(profile: str, asked: str | None, kept: dict) -> None:
    """The stricter of configuration and request is applied to what is recorded, and nothing else differs."""
    inline = {"a": 1, "password": "hunter2"}
    context = {"mode": "inline", "digest": digest(inline), "inline": inline}
    if asked is not None:
        context["redaction"] = {"profile": asked}
    decision = run({**REQUEST, "context": context}, settings=EngineSettings(redaction_profile=profile))
    assert decision.record["request"]["context"]["inline"] == kept
    assert b"hunter2" not in decision.body
    assert decision.verdict == "TRUST"


@pytest.mark.parametrize("mode", [None, Mode.ADVISORY])
def test_storage_failure_is_an_abstain(mode: Mode | None) -> None:
    """Where nothing can be recorded the answer is the ABSTAIN of contract 4, and never forwards."""
    settings = EngineSettings(mode=mode)
    decision = abstain_on_storage(REQUEST, policies=POLICIES, settings=settings, stamp=STAMP)
    record = decision.record
    assert (record["verdict"], record["reason_codes"]) == ("ABSTAIN", ["STORAGE_UNAVAILABLE"])
    assert (record["matched_rules"], record["queries"], record["obligations"]) == ([], [], [])
    assert record["risk_signals"] == {"uncertainty_score": 1, "failure_similarity": {"score": 0, "top_k": []}}
    assert canonical_bytes(record) == decision.body
    assert not decision.forwardable


def test_odd_characters_make_canonical_records() -> None:
    """Astral characters, controls and quotes in every text that a caller gives keep the record canonical."""
    odd = '𝄞\ue000"\\\x01\u2028\x7f'
    request = {
        **REQUEST,
        "request_id": odd,
        "trace": {"correlation_id": odd},
        "subject": {"type": "agent", "id": odd},
        "action": {"type": "support.refund", "intent": odd, "amount": {"value": 1, "currency": '"\x01𝄞'}},
        "evidence": {odd: odd, "payment_instrument_risk": odd, "small": 0.0000001},
    }
    decision = run(read_request(orjson.dumps(request)), advice=MemoryAdvice(0.5, (), odd))
    assert canonical_bytes(orjson.loads(decision.body)) == decision.body
    assert decision.record["request"]["evidence"][odd] == odd


def test_extensions_are_in_canonical_order() -> None:
    """Names of every script stand in the order of RFC 8785, among the engine's own."""
    names = ["z", "a", "derivee", "dry_runs", "ü", "\ue000", "𝄞", "control"]
    decision = run({**REQUEST, "hints": {"dry_run": True}}, extensions=dict.fromkeys(names, 0.5))
    assert canonical_bytes(decision.record) == decision.body
    assert set(decision.record["extensions"]) == {*names, "derived", "dry_run"}


@pytest.mark.parametrize("value", [float("nan"), 2**60, "\ud800", {1, 2}, {1: 2}])
def test_what_no_json_can_hold_is_refused_as_such(value: object) -> None:
    """Evidence that has no canonical bytes is an invalid request, and no other error."""
    evidence = {"ticket_id": "t", "chargeback_risk": value}
    request = {**REQUEST, "evidence": evidence, "action": {"type": "support.refund", "intent": "x"}}
    with pytest.raises(InvalidRequestError):
        run(request)


def test_the_engine_has_no_effects() -> None:
    """No file of the engine or the policy compiler imports what reads a clock, a file or a socket."""
    banned = {"os", "time", "random", "socket", "asyncio", "threading", "logging", "pathlib", "io"}
    for folder in ("engine", "policy"):
        for path in (Path(module.__file__).parents[1] / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & banned, path
                called = (
                    node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
                )
                assert called not in {"open", "print", "input"}, path
