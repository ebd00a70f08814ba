"""Entries as rows of the one `entries` table, and back; the same for every database.

The order of `COLUMNS` is the order of every row. What a kind does not have is NULL. Nothing here may talk
to a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import orjson

from gateway.kernel.bounds import STORE_COLUMN_BYTES_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.types import Tenant
from gateway.records.chain import header
from gateway.records.types import ControlEntry, DecisionEntry, Entry, EventEntry, MemoryEntry, PolicyEntry

Row: TypeAlias = tuple[Any, ...]

LEDGER_COLUMNS: Final = ("writer", "seq", "link")
ENTRY_COLUMNS: Final = (
    "kind",
    "entry_id",
    "tenant",
    "at_ms",
    "action_type",
    "verdict",
    "reason_codes",
    "policy_hash",
    "model",
    "correlation_id",
    "request_key",
    "request_digest",
    "awaits_outcome",
    "decision_id",
    "label",
    "policy_id",
    "policy_version",
    "body",
)
"""`label` is an event's type, a memory item's label or a control record's type."""
COLUMNS: Final = (*LEDGER_COLUMNS, *ENTRY_COLUMNS)
TIME_MAX_MS: Final = 1 << 53
"""Whole numbers beyond this one are no JSON (RFC 8785), and the year would be 287,396."""
ENTRY_LIST: Final = ", ".join(ENTRY_COLUMNS)
"""For SELECT: gives rows that `entry_of` reads."""


@hot_dataclass(frozen=True, slots=True)
class Sealed:
    """An entry that is ready to be stored: nothing about it can fail any more but the storing."""

    row: Row
    """In the order of `ENTRY_COLUMNS`."""
    header: bytes
    """What the ledger hashes before the body."""

    @property
    def kind(self) -> str:
        """The entry's kind."""
        return str(self.row[0])

    @property
    def entry_id(self) -> str:
        """The entry's id."""
        return str(self.row[1])

    @property
    def tenant_id(self) -> str | None:
        """The entry's tenant, or None."""
        return None if self.row[2] is None else str(self.row[2])

    @property
    def request_key(self) -> str | None:
        """The idempotency key, where it is a decision that has one."""
        return None if self.row[10] is None else str(self.row[10])

    @property
    def decision_id(self) -> str | None:
        """The decision that it is an event of, where it is one."""
        return None if self.row[13] is None else str(self.row[13])

    @property
    def body(self) -> bytes:
        """The canonical bytes."""
        body: bytes = self.row[17]
        return body


def seal(entry: Entry) -> Sealed:
    """Turn an entry into its row and its header, on the caller's side of the queue.

    Raises `InvalidRequestError` where a column could not be stored, so that one bad entry never fails
    the batch of others.
    """
    try:
        entry_header = header(entry)
    except TypeError as error:
        raise InvalidRequestError(f"{entry.kind} {entry.entry_id!r} cannot be stored: {error}") from error
    if not -TIME_MAX_MS < entry.at_ms < TIME_MAX_MS:
        raise InvalidRequestError(f"{entry.kind} {entry.entry_id!r} has an impossible time: {entry.at_ms} ms")
    row = row_of(entry)
    if b"\\u0000" in entry_header and any(isinstance(value, str) and "\x00" in value for value in row):
        raise InvalidRequestError(f"{entry.kind} {entry.entry_id!r} holds a NUL, which no column can store")
    if len(entry_header) > STORE_COLUMN_BYTES_MAX:
        _refuse_long_columns(row)
    return Sealed(row, entry_header)


def _refuse_long_columns(row: Row) -> None:
    """Raise `InvalidRequestError` where a text is too long for PostgreSQL to index it."""
    for name, value in zip(ENTRY_COLUMNS, row, strict=True):
        if isinstance(value, str) and name != "reason_codes":
            length = len(value.encode())
            if length > STORE_COLUMN_BYTES_MAX:
                raise InvalidRequestError(
                    f"the {name} of this {row[0]} has {length:,} bytes, at most {STORE_COLUMN_BYTES_MAX:,} "
                    "can be stored",
                    hint="shorten it",
                )


def row_of(entry: Entry) -> Row:
    """Return the row of an entry, in the order of `ENTRY_COLUMNS`."""
    none = None
    match entry:
        case DecisionEntry():
            return (
                "decision",
                entry.entry_id,
                entry.tenant.tenant_id,
                entry.at_ms,
                entry.action_type,
                entry.verdict,
                orjson.dumps(entry.reason_codes).decode(),
                entry.policy_hash,
                entry.model,
                entry.correlation_id,
                entry.request_key,
                entry.request_digest,
                1 if entry.awaits_outcome else 0,
                none,
                none,
                none,
                none,
                entry.body,
            )
        case EventEntry():
            head = ("event", entry.entry_id, entry.tenant.tenant_id, entry.at_ms)
            return (*head, *_NONE_9, entry.decision_id, entry.event_type, none, none, entry.body)
        case MemoryEntry():
            head = ("memory", entry.entry_id, entry.tenant.tenant_id, entry.at_ms)
            return (*head, entry.action_type, *_NONE_9, entry.label, none, none, entry.body)
        case PolicyEntry():
            last = (entry.policy_id, entry.policy_version, entry.body)
            return ("policy", entry.entry_id, none, entry.at_ms, *_NONE_9, none, none, *last)
        case ControlEntry():
            head = ("control", entry.entry_id, none, entry.at_ms)
            return (*head, *_NONE_9, none, entry.control_type, none, none, entry.body)


_NONE_9: Final = (None,) * 9


def entry_of(row: Sequence[Any]) -> Entry:
    """Return the entry of a row in the order of `ENTRY_COLUMNS`. Raises ValueError on an unknown kind."""
    match row[0]:
        case "decision":
            return decision_of(row)
        case "event":
            return event_of(row)
        case "memory":
            return memory_of(row)
        case "policy":
            return policy_of(row)
        case "control":
            return control_of(row)
        case kind:
            raise ValueError(f"no such kind of entry: {kind!r}")


def decision_of(row: Sequence[Any]) -> DecisionEntry:
    """Return the decision of a row."""
    return DecisionEntry(
        entry_id=row[1],
        tenant=Tenant(row[2]),
        at_ms=row[3],
        action_type=row[4],
        verdict=row[5],
        reason_codes=tuple(orjson.loads(row[6])),
        policy_hash=row[7],
        model=row[8],
        correlation_id=row[9],
        request_key=row[10],
        request_digest=row[11],
        awaits_outcome=bool(row[12]),
        body=bytes(row[17]),
    )


def event_of(row: Sequence[Any]) -> EventEntry:
    """Return the event of a row."""
    return EventEntry(row[1], Tenant(row[2]), row[3], row[13], row[14], bytes(row[17]))


def memory_of(row: Sequence[Any]) -> MemoryEntry:
    """Return the memory item of a row."""
    return MemoryEntry(row[1], Tenant(row[2]), row[3], row[4], row[14], bytes(row[17]))


def policy_of(row: Sequence[Any]) -> PolicyEntry:
    """Return the policy of a row."""
    return PolicyEntry(row[1], row[3], row[15], row[16], bytes(row[17]))


def control_of(row: Sequence[Any]) -> ControlEntry:
    """Return the control record of a row."""
    return ControlEntry(row[1], row[3], row[14], bytes(row[17]))


def header_of(row: Sequence[Any]) -> bytes:
    """Return the ledger's header of a row as it is stored, without making an entry of it.

    The same bytes as `records.chain.header` gives for the entry. Raises ValueError where a column is set
    that the row's kind does not have, so that nothing stored escapes the ledger.
    """
    match row[0]:
        case "decision":
            fields, unused = (*row[:6], orjson.Fragment(row[6]), *row[7:12], bool(row[12])), row[13:17]
        case "event":
            fields, unused = (*row[:4], row[13], row[14]), (*row[4:13], *row[15:17])
        case "memory":
            fields, unused = (*row[:5], row[14]), (*row[5:14], *row[15:17])
        case "policy":
            fields, unused = (row[0], row[1], row[3], row[15], row[16]), (row[2], *row[4:15])
        case "control":
            fields, unused = (row[0], row[1], row[3], row[14]), (row[2], *row[4:14], *row[15:17])
        case kind:
            raise ValueError(f"no such kind of entry: {kind!r}")
    if unused.count(None) != len(unused):
        raise ValueError(f"a column is set that no {row[0]} has")
    return orjson.dumps(fields)
