"""The one mutable reference: what decisions are made under, swapped whole.

A request takes the snapshot once and uses nothing else, so that its record can name exactly the
policies and the memory it was decided under.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.auth.keys import KeyRing
from gateway.engine.decide import EngineSettings
from gateway.kernel.types import JSONObject
from gateway.memory.features import features_of
from gateway.memory.snapshot import MemoryIndex
from gateway.memory.types import NO_ADVICE, MemoryAdvice
from gateway.policy.select import PolicySet


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a decision depends on besides the request itself."""

    policies: PolicySet
    memory: MemoryIndex
    engine: EngineSettings
    keys: KeyRing
    top_k: int
    """How many remembered outcomes a record names; 0 switches memory off."""

    def advise(self, request: JSONObject) -> MemoryAdvice:
        """Return what memory says of a validated request."""
        tenant_id = request["subject"].get("tenant_id")
        if not self.memory.prefix(tenant_id, request["action"]["type"]).length:
            return NO_ADVICE
        return self.memory.advise(tenant_id, features_of(request), self.top_k)


class Live:
    """Holds the current snapshot."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot of now; take it once a request."""
        return self._snapshot

    def publish(self, snapshot: Snapshot) -> None:
        """Make another snapshot current; requests under way keep theirs."""
        self._snapshot = snapshot
