"""The hash chain of the ledger: each entry is bound to the one its writer wrote before it.

    link(-1) = SHA-256("lumyn.ledger.v0" NUL writer)
    link(n)  = SHA-256(link(n-1) || header(n) || body(n))

`header` is the canonical JSON array of the entry's kind and its search columns; an array ends itself, so
header and body cannot be shifted against each other. The sequence number is the position in the chain and
the writer is bound by its first link: neither stands in the record. The scheme is the linked list of
Haber and Stornetta, "How to time-stamp a digital document" (1991), one list per writer.

Nothing here may look at a clock, a file or a database.
"""

from __future__ import annotations

import hashlib
from typing import Final

import orjson

from gateway.records.types import ControlEntry, DecisionEntry, Entry, EventEntry, MemoryEntry, PolicyEntry

LINK_BYTES: Final = 32
_GENESIS: Final = b"lumyn.ledger.v0\x00"


def genesis(writer: str) -> bytes:
    """Return the link before the first entry of a writer (a ULID)."""
    return hashlib.sha256(_GENESIS + writer.encode()).digest()


def header(entry: Entry) -> bytes:
    """Return the columns of an entry as one canonical JSON array, its kind first.

    Raises TypeError where a column holds a lone surrogate, which no database could store either.
    """
    return orjson.dumps(_columns(entry))


def link(before: bytes, entry_header: bytes, body: bytes) -> bytes:
    """Return the link of an entry, given the link of the entry before it."""
    return hashlib.sha256(b"".join((before, entry_header, body))).digest()


def _columns(entry: Entry) -> tuple[object, ...]:
    match entry:
        case DecisionEntry():
            return (
                "decision",
                entry.entry_id,
                entry.tenant.tenant_id,
                entry.at_ms,
                entry.action_type,
                entry.verdict,
                entry.reason_codes,
                entry.policy_hash,
                entry.model,
                entry.correlation_id,
                entry.request_key,
                entry.request_digest,
                entry.awaits_outcome,
            )
        case EventEntry():
            tenant_id = entry.tenant.tenant_id
            return ("event", entry.entry_id, tenant_id, entry.at_ms, entry.decision_id, entry.event_type)
        case MemoryEntry():
            tenant_id = entry.tenant.tenant_id
            return ("memory", entry.entry_id, tenant_id, entry.at_ms, entry.action_type, entry.label)
        case PolicyEntry():
            return ("policy", entry.entry_id, entry.at_ms, entry.policy_id, entry.policy_version)
        case ControlEntry():
            return ("control", entry.entry_id, entry.at_ms, entry.control_type)
