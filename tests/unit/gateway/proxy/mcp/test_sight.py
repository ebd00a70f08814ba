"""What a caller sees of a server: what its key covers, and what could ever be let go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.auth.keys import KeyRing, Principal
from gateway.engine.decide import EngineSettings
from gateway.kernel.types import Mode
from gateway.live import Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.proxy.mcp.sight import is_hidden

BOT = Principal("bot", None)


def snapshot(if_: Any, *, verdict: str = "ABSTAIN", mode: Mode | None = None, **then: Any) -> Snapshot:
    """A policy with one rule before one that trusts everything."""
    first = {
        "id": "A",
        "stage": "HARD_BLOCKS",
        "then": {"verdict": verdict, "reason_codes": ["TOOL_NOT_ALLOWED"], **then},
    }
    if if_ is not None:
        first["if"] = if_
    trust = {
        "id": "T",
        "stage": "TRUST_PATHS",
        "then": {"verdict": "TRUST", "reason_codes": ["TOOL_CALL_OK"]},
    }
    document = {
        "schema_version": "policy.v0",
        "policy_id": "p",
        "policy_version": "1",
        "defaults": {
            "mode": "enforce",
            "default_verdict": "ABSTAIN",
            "default_reason_code": "TOOL_NOT_ALLOWED",
        },
        "rules": [first, trust],
    }
    policies = PolicySet(compile_policy(orjson.dumps(document)))
    return Snapshot(policies, MemoryIndex(), EngineSettings(mode=mode), KeyRing([]), top_k=5)


@pytest.mark.parametrize(
    ("if_", "hidden"),
    [
        (None, True),
        ({"action.target.resource_id_is": "refund"}, True),
        ({"action.target.system_is": "bank"}, False),
        ({"subject.id_is": "bot"}, True),
        ({"subject.id_is": "other"}, False),
        ({"evidence.order_is": "O1"}, False),
        ({"evidence.order_present": False}, False),
        ({"evidence.unmapped_present": False}, True),
        ({"amount_usd_gt": 5}, False),
        ({"evidence.failure_similarity_score_gte": 0.5}, False),
    ],
)
def test_a_tool_is_hidden_where_no_call_of_it_could_pass(server, pin, if_: Any, hidden: bool) -> None:
    """What the arguments, an answer or memory may still change is left open."""
    assert is_hidden(server, pin, BOT, snapshot(if_)) is hidden


def test_what_a_policy_asks_for_may_be_answered(server, pin) -> None:
    """Evidence that a question asks for is not missing for good."""
    queries = [{"field": "evidence.confirmed", "question": "Sure?"}]
    asks = snapshot({"evidence.confirmed_present": False}, verdict="QUERY", queries=queries)
    assert not is_hidden(server, pin, BOT, asks)


def test_hints_count_for_a_trusted_server_alone(server, pin) -> None:
    """A server that is not trusted cannot make its tools disappear, nor appear."""
    rule = snapshot({"evidence.destructive_hint_is": True})
    hinted = replace(pin, hints={"destructive_hint": True})
    assert is_hidden(replace(server, trusted=True), hinted, BOT, rule)
    assert not is_hidden(server, hinted, BOT, rule)


def test_a_key_that_does_not_cover_the_action_sees_nothing_of_it(server, pin) -> None:
    """Whatever the mode is."""
    narrow = Principal("bot", "acme", actions=("shop.read",))
    assert is_hidden(server, pin, narrow, snapshot({"subject.id_is": "x"}, mode=Mode.ADVISORY))


def test_advisory_mode_hides_nothing(server, pin) -> None:
    """There everything may pass, and is recorded as what it is."""
    assert not is_hidden(server, pin, BOT, snapshot(None, mode=Mode.ADVISORY))
