"""A record decided again; that every record replays is proved in `tests/property` and `tests/vectors`."""

from __future__ import annotations

import pytest

from gateway.engine.decide import Decision, EngineSettings, Stamp, decide
from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.errors import RecordError
from gateway.kernel.types import Mode
from gateway.memory.types import MemoryAdvice, MemoryHit
from gateway.policy.select import PolicySet
from tests.kit.vectors import built_in

POLICY = built_in("support")
ADVICE = MemoryAdvice(0.5, (MemoryHit("m1", "failure", 0.5, "it failed"),), "memory:1:ab")
REQUEST = {
    "schema_version": "decision_request.v0",
    "subject": {"type": "agent", "id": "bot"},
    "action": {"type": "support.refund", "intent": "refund", "amount": {"value": 20, "currency": "USD"}},
    "evidence": {"ticket_id": "t"},
    "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
}


def decided() -> Decision:
    """Return a decision with memory, extensions and a mode of its own."""
    return decide(
        REQUEST,
        policies=PolicySet(POLICY),
        advice=ADVICE,
        settings=EngineSettings(mode=Mode.ADVISORY),
        stamp=Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000),
        extensions={"control": {"action": "PASSED"}},
    )


def test_a_record_carries_all_that_replay_needs() -> None:
    """Advice, mode, stamp and extensions come back from the record alone."""
    record = decided().record
    assert recorded_advice(record) == ADVICE
    again = replay(record, POLICY, recorded_advice(record))
    assert again.identical
    assert again.decision == decided()


def test_events_that_were_joined_are_left_out() -> None:
    """A record as GET returns it, with its events, replays like the stored one."""
    record = decided().record
    record["decision_event_log"] = [{"event_id": "e", "type": "outcome"}]
    assert replay(record, POLICY, ADVICE).identical


def test_another_policy_gives_other_bytes() -> None:
    """A record does not replay under a policy that did not decide it, and the hash is named."""
    record = decided().record
    assert "/policy/policy_hash" in replay(record, built_in("billing"), ADVICE).differences


@pytest.mark.parametrize(
    ("path", "value", "pointer"),
    [
        (("verdict",), "TRUST", "/verdict"),
        (("request", "evidence", "ticket_id"), "u", "/determinism/inputs_digest"),
        (("determinism", "inputs_digest"), "sha256:0", "/determinism/inputs_digest"),
        (("determinism", "engine_version"), "another", "/determinism/engine_version"),
        (("matched_rules", 0, "effect"), "TRUST", "/matched_rules/0/effect"),
        (("explanation", "summary"), "fine", "/explanation/summary"),
        (("extensions", "derived", "amount_usd"), "19", "/extensions/derived/amount_usd"),
        (("risk_signals", "uncertainty_score"), 0.2, "/risk_signals/uncertainty_score"),
        (("created_at",), "2023-11-14T22:13:21Z", None),
    ],
)
def test_an_alteration_is_named(path: tuple, value: object, pointer: str | None) -> None:
    """What was changed in a record is found; a time that is merely another is the ledger's to find."""
    record = decided().record
    holder = record
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    differences = replay(record, POLICY, recorded_advice(record)).differences
    assert (pointer in differences) if pointer else (differences == ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("request", None),
        ("request", {}),
        ("risk_signals", {}),
        ("risk_signals", {"failure_similarity": {"score": True, "top_k": []}}),
        ("risk_signals", {"failure_similarity": {"score": 0, "top_k": [5]}}),
        ("determinism", []),
        ("policy", {"mode": "audit"}),
        ("extensions", "x"),
        ("created_at", "yesterday"),
        ("created_at", "2023-11-14T22:13:20+01:00"),
        ("decision_id", 5),
        ("queries", [float("nan")]),
    ],
)
def test_what_cannot_be_read_is_a_record_error(name: str, value: object) -> None:
    """A record damaged beyond reading is called that, with what to do next."""
    record = {**decided().record, name: value}
    with pytest.raises(RecordError, match="cannot be replayed") as caught:
        replay(record, POLICY, recorded_advice(record))
    assert caught.value.code == "REPLAY_DIFFERS"
    assert caught.value.hint
