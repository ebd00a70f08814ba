"""The entries of the memory log and their canonical bytes: items, and withdrawals of items.

The log is append-only. An item that should not have been remembered is not removed: a withdrawal that
names it is appended, and from there on it is not compared with any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.kernel.canon import canonical_bytes
from gateway.kernel.clock import rfc3339
from gateway.kernel.errors import GatewayError, RecordError
from gateway.kernel.parse import parse_json
from gateway.kernel.types import JSON, JSONObject
from gateway.memory.features import Features, features_of

FAILURE: Final = "failure"
LABELS: Final = ("failure", "success", "near_miss")
WITHDRAWN: Final = "withdrawn"
"""What stands in the label column of a withdrawal's entry."""


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """A labelled outcome. `label` is one of `LABELS`; `created_at` is RFC 3339 in UTC, whole seconds."""

    memory_id: str
    tenant_id: str | None
    created_at: str
    label: str
    features: Features
    summary: str
    source_decision_id: str | None = None

    @property
    def action_type(self) -> str:
        """The action type that the item is about."""
        return self.features.action_type


@dataclass(frozen=True, slots=True)
class MemoryWithdrawal:
    """Takes the item `withdraws` out of comparison, for the reason in `summary`."""

    memory_id: str
    tenant_id: str | None
    created_at: str
    action_type: str
    withdraws: str
    summary: str

    @property
    def label(self) -> str:
        """What stands in the label column of the entry."""
        return WITHDRAWN


LogEntry: TypeAlias = MemoryItem | MemoryWithdrawal


def remember(
    record: JSONObject, *, memory_id: str, at_ms: int, label: str, summary: str | None = None
) -> MemoryItem:
    """Return the item that labels a Decision Record. `label` must be one of `LABELS`; the edge checks it."""
    request = record["request"]
    action = request["action"]
    return MemoryItem(
        memory_id=memory_id,
        tenant_id=request["subject"].get("tenant_id"),
        created_at=rfc3339(at_ms),
        label=label,
        features=features_of(request),
        summary=summary or f"{action['type']}: {action['intent']} -> {record['verdict']} ({label})",
        source_decision_id=record["decision_id"],
    )


def withdraw(item: MemoryItem, *, memory_id: str, at_ms: int, summary: str) -> MemoryWithdrawal:
    """Return the entry that takes `item` out of comparison; `memory_id` is the entry's own id."""
    return MemoryWithdrawal(
        memory_id=memory_id,
        tenant_id=item.tenant_id,
        created_at=rfc3339(at_ms),
        action_type=item.action_type,
        withdraws=item.memory_id,
        summary=summary,
    )


def encode(entry: LogEntry) -> bytes:
    """Return the canonical bytes of a log entry: what the store keeps as its body."""
    value: JSONObject = {
        "action_type": entry.action_type,
        "created_at": entry.created_at,
        "label": entry.label,
        "memory_id": entry.memory_id,
        "summary": entry.summary,
        "tenant_id": entry.tenant_id,
    }
    if isinstance(entry, MemoryItem):
        value["feature"] = entry.features.value()
        value["source_decision_id"] = entry.source_decision_id
    else:
        value["withdraws"] = entry.withdraws
    return canonical_bytes(value)


def decode(body: bytes) -> LogEntry:
    """Return the log entry that `body` holds. RecordError if it is none. Fields not known are ignored."""
    try:
        value = parse_json(body)
    except GatewayError as error:
        raise _broken(error.message) from None
    if not isinstance(value, dict):
        raise _broken("it is no object")
    label = _text(value, "label")
    if label == WITHDRAWN:
        return MemoryWithdrawal(
            memory_id=_text(value, "memory_id"),
            tenant_id=_text_or_none(value, "tenant_id"),
            created_at=_text(value, "created_at"),
            action_type=_text(value, "action_type"),
            withdraws=_text(value, "withdraws"),
            summary=_text(value, "summary"),
        )
    if label not in LABELS:
        raise _broken(f"its label is none of {', '.join(LABELS)}")
    features = _features(value.get("feature"))
    if features.action_type != _text(value, "action_type"):
        raise _broken("its action_type is not that of its features")
    return MemoryItem(
        memory_id=_text(value, "memory_id"),
        tenant_id=_text_or_none(value, "tenant_id"),
        created_at=_text(value, "created_at"),
        label=label,
        features=features,
        summary=_text(value, "summary"),
        source_decision_id=_text_or_none(value, "source_decision_id"),
    )


def _features(value: JSON) -> Features:
    if not isinstance(value, dict):
        raise _broken("it has no feature object")
    tags = value.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _broken("its tags are no list of strings")
    return Features(
        action_type=_text(value, "action_type"),
        amount_currency=_text_or_none(value, "amount_currency"),
        amount_usd_bucket=_text_or_none(value, "amount_usd_bucket"),
        tags=tuple(tags),
    )


def _text(value: JSONObject, name: str) -> str:
    text = value.get(name)
    if not isinstance(text, str):
        raise _broken(f"its {name} is no string")
    return text


def _text_or_none(value: JSONObject, name: str) -> str | None:
    return None if value.get(name) is None else _text(value, name)


def _broken(reason: str) -> RecordError:
    return RecordError(f"a memory entry cannot be read: {reason}", hint="run `lumyn verify` on this store")
