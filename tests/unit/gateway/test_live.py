"""The one mutable reference: a request keeps the snapshot it took."""

from __future__ import annotations

from dataclasses import replace

from gateway.auth.keys import KeyRing
from gateway.config import PolicyConfig
from gateway.engine.decide import EngineSettings
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.memory.types import NO_ADVICE
from gateway.pipeline.policies import load_policies
from gateway.pipeline.remember import labelled
from tests.kit.entries import decision

REQUEST = {
    "schema_version": "decision_request.v0",
    "subject": {"type": "service", "id": "bot"},
    "action": {"type": "llm.chat_completion", "intent": "test"},
    "context": {"mode": "digest_only", "digest": "sha256:" + "0" * 64},
}


def snapshot(memory: MemoryIndex | None = None) -> Snapshot:
    """A snapshot under the built-in policies."""
    return Snapshot(
        load_policies(PolicyConfig()), memory or MemoryIndex(), EngineSettings(), KeyRing([]), top_k=5
    )


def test_publishing_swaps_the_whole() -> None:
    """Who took the old snapshot keeps it; who asks next gets the new one."""
    first = snapshot()
    live = Live(first)
    taken = live.snapshot
    second = replace(first, top_k=0)
    live.publish(second)
    assert taken is first
    assert live.snapshot is second


def test_an_empty_memory_says_nothing() -> None:
    """Without a log of the tenant and action type no look-up is made."""
    assert snapshot().advise(REQUEST) is NO_ADVICE


def test_memory_is_asked_for_the_requests_own_tenant() -> None:
    """What another tenant remembers is not seen."""
    index = MemoryIndex()
    entry = labelled(decision(1), memory_id="M", at_ms=1, label="failure", summary=None)
    index.add_body(None, entry.body)
    advice = snapshot(index).advise(REQUEST)
    assert [hit.memory_id for hit in advice.hits] == ["M"]
    assert advice.failure_score > 0
    theirs = REQUEST | {"subject": {"type": "service", "id": "bot", "tenant_id": "acme"}}
    assert snapshot(index).advise(theirs) is NO_ADVICE
