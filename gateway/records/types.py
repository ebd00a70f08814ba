"""What the store keeps: append-only entries, each an envelope of columns around canonical bytes.

`body` is what is hashed into the ledger; the other fields are the columns one searches by, and
`lumyn verify` checks them against the body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from gateway.kernel.types import Tenant


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """A Decision Record (`decision_record.v0`), as canonical bytes, with its search columns."""

    kind: ClassVar[str] = "decision"
    entry_id: str
    """The decision id, a ULID."""
    tenant: Tenant
    at_ms: int
    action_type: str
    verdict: str
    reason_codes: tuple[str, ...]
    policy_hash: str
    model: str | None
    """The model asked for, where the action is an LLM request."""
    correlation_id: str | None
    """`trace.correlation_id`: the x-request-id of the exchange."""
    request_key: str | None
    """The idempotency key (`request_id` of the DecisionRequest); unique per tenant."""
    request_digest: str | None
    """Digest of the request as received, which a repetition under the same key must equal."""
    awaits_outcome: bool
    """True where something is about to be forwarded: without an outcome event its fate is unknown."""
    body: bytes


@dataclass(frozen=True, slots=True)
class EventEntry:
    """Something that happened to a decision later: `outcome`, `label`, `note` or `override`.

    `body` is the canonical JSON of `{event_id, decision_id, at, type, data}`.
    """

    kind: ClassVar[str] = "event"
    entry_id: str
    tenant: Tenant
    at_ms: int
    decision_id: str
    event_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """A labelled outcome that later decisions are compared with.

    `body` is the canonical JSON of the memory item (see `gateway.memory`).
    """

    kind: ClassVar[str] = "memory"
    entry_id: str
    tenant: Tenant
    at_ms: int
    action_type: str
    label: str
    body: bytes


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """A policy that decided, by hash, so that its records can be replayed; `body` is its text as read.

    `entry_id` is the policy hash. Appending one that is there already changes nothing.
    """

    kind: ClassVar[str] = "policy"
    entry_id: str
    at_ms: int
    policy_id: str
    policy_version: str
    body: bytes


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """A control record: a tick, an epoch, a mode or intent change; `body` is opaque canonical JSON."""

    kind: ClassVar[str] = "control"
    entry_id: str
    at_ms: int
    control_type: str
    body: bytes


Entry: TypeAlias = DecisionEntry | EventEntry | MemoryEntry | PolicyEntry | ControlEntry
