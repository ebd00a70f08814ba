"""How tool calls become actions: the entries that tools inside answers and tools of MCP servers share."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from gateway.config.section import Part
from gateway.kernel.bounds import POINTER_CHARS_MAX
from gateway.wire.toolmap import AmountRule, ToolRule

Pointer = Annotated[str, Field(max_length=POINTER_CHARS_MAX, pattern=r"^/")]
ActionType = Annotated[str, Field(max_length=256, pattern=r"^[a-z0-9]+(\.[a-z0-9_]+)+$")]
_EvidenceKey = Annotated[str, Field(min_length=1, max_length=128)]

RESERVED_EVIDENCE: Final = frozenset(
    {
        "decision_id",
        "destructive_hint",
        "failure_similarity_score",
        "gate_finding",
        "idempotent_hint",
        "model",
        "open_world_hint",
        "read_only_hint",
    },
)
"""Evidence that the gateway itself gives: an argument may not pass for it."""


class AmountConfig(Part):
    """Where a call's amount stands."""

    value: Pointer
    currency: Annotated[str, Field(pattern=r"^(/.*|[A-Z]{3})$")] = "USD"


class ToolConfig(Part):
    """One tool, or those that a pattern names, as an action."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    action: ActionType
    evidence: dict[_EvidenceKey, Pointer] = Field(default={}, max_length=64)
    amount: AmountConfig | None = None

    @model_validator(mode="after")
    def _gives_no_facts_of_ours(self) -> ToolConfig:
        if taken := sorted(RESERVED_EVIDENCE & self.evidence.keys()):
            raise ValueError(f"`{taken[0]}` is evidence that the gateway gives: choose another key")
        return self

    def rule(self) -> ToolRule:
        """Return it as the reader of calls wants it."""
        amount = None if self.amount is None else AmountRule(self.amount.value, self.amount.currency)
        return ToolRule(self.name, self.action, dict(self.evidence), amount)
