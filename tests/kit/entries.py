"""Entries for tests: whole, plausible, and different by their number."""

from __future__ import annotations

import orjson

from gateway.kernel.ids import RANDOM_BYTES
from gateway.kernel.types import NO_TENANT, Tenant
from gateway.records.types import ControlEntry, DecisionEntry, EventEntry, MemoryEntry, PolicyEntry
from gateway.store.claims import Claim

START_MS = 1_760_000_000_000


class StillClock:
    """A clock that a test moves by hand."""

    def __init__(self, wall_ms: int = START_MS) -> None:
        self.now_ms = wall_ms
        self.now_s = 0.0

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_s(self) -> float:
        return self.now_s


class CountedRandomness:
    """Bytes that are never the same twice, and the same in every run."""

    def __init__(self, start: int = 1) -> None:
        self._count = start << 32

    def token_bytes(self, count: int) -> bytes:
        first = self._count + 1
        self._count += -(-count // RANDOM_BYTES)
        numbers = range(first, self._count + 1)
        # Each piece of an id's length is another number, so that no two ids of one draw are the same.
        return b"".join([number.to_bytes(RANDOM_BYTES, "big") for number in numbers])[:count]


def entry_id(number: int, salt: int = 0) -> str:
    """The id of entry `number`; another salt gives another id."""
    bits = (START_MS + number) << 80 | (salt << 40) + number
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[bits >> shift & 31] for shift in range(125, -1, -5))


def decision(number: int, **changed: object) -> DecisionEntry:
    """Decision `number`, one a millisecond; `changed` replaces fields, `size` pads the body."""
    size = int(str(changed.pop("size", 0)))
    fields: dict[str, object] = {
        "entry_id": entry_id(number),
        "tenant": NO_TENANT,
        "at_ms": START_MS + number,
        "action_type": "llm.chat_completion",
        "verdict": "TRUST",
        "reason_codes": ("LLM_OK",),
        "policy_hash": "sha256:" + "a" * 64,
        "model": "llama-70b",
        "correlation_id": f"request-{number}",
        "request_key": None,
        "request_digest": "sha256:" + "b" * 64,
        "awaits_outcome": True,
    } | changed
    if "body" not in fields:
        fields["body"] = decision_body(fields, size)
    return DecisionEntry(**fields)  # type: ignore[arg-type]


def decision_body(fields: dict[str, object], size: int = 0) -> bytes:
    """The record that belongs to the columns, padded to about `size` bytes."""
    tenant = fields["tenant"]
    assert isinstance(tenant, Tenant)
    subject = {"type": "service", "id": "bot"} | (
        {} if tenant.tenant_id is None else {"tenant_id": tenant.tenant_id}
    )
    record = {
        "schema_version": "decision_record.v0",
        "decision_id": fields["entry_id"],
        "trace": {} if fields["correlation_id"] is None else {"correlation_id": fields["correlation_id"]},
        "request": {
            "schema_version": "decision_request.v0",
            "subject": subject,
            "action": {"type": fields["action_type"], "intent": "test"},
        }
        | ({} if fields["request_key"] is None else {"request_id": fields["request_key"]}),
        "policy": {"policy_hash": fields["policy_hash"]},
        "verdict": fields["verdict"],
        "reason_codes": list(fields["reason_codes"]),  # type: ignore[call-overload]
    }
    body = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    if len(body) < size:
        record["extensions"] = {"padding": "x" * (size - len(body))}
        body = orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    return body


def event(number: int, decision_id: str, event_type: str = "outcome", **changed: object) -> EventEntry:
    """Event `number` of a decision."""
    fields: dict[str, object] = {
        "entry_id": entry_id(number, 1),
        "tenant": NO_TENANT,
        "at_ms": START_MS + number,
        "decision_id": decision_id,
        "event_type": event_type,
    } | changed
    fields.setdefault(
        "body",
        orjson.dumps(
            {
                "event_id": fields["entry_id"],
                "decision_id": decision_id,
                "type": fields["event_type"],
                "data": {"fate": "complete"},
            },
            option=orjson.OPT_SORT_KEYS,
        ),
    )
    return EventEntry(**fields)  # type: ignore[arg-type]


def memory_item(number: int, tenant: Tenant = NO_TENANT, label: str = "failure") -> MemoryEntry:
    """Memory item `number`."""
    return MemoryEntry(
        entry_id(number, 2), tenant, START_MS + number, "support.refund", label, b'{"n":%d}' % number
    )


def policy(number: int = 0) -> PolicyEntry:
    """Policy `number`."""
    return PolicyEntry(f"sha256:{number:064x}", START_MS, "p", "1", b"schema_version: policy.v0\n")


def claim(name: str, number: int = 1, **changed: object) -> Claim:
    """A claim that decision `number` holds for an hour."""
    fields: dict[str, object] = {
        "space": "test",
        "tenant": NO_TENANT,
        "name": name,
        "owner": "bot",
        "state": "open",
        "digest": "sha256:" + "d" * 64,
        "decision_id": entry_id(number),
        "at_ms": START_MS,
        "expires_ms": START_MS + 3_600_000,
        "body": b"",
    } | changed
    return Claim(**fields)  # type: ignore[arg-type]


def control(number: int, control_type: str = "tick") -> ControlEntry:
    """Control record `number`."""
    return ControlEntry(entry_id(number, 3), START_MS + number, control_type, b'{"n":%d}' % number)
