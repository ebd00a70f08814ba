"""A record's place in the ledger, so that it can be shown without the store: what `chain.link` binds.

Whoever holds the store, or a later head of the writer's chain, can hold the proof against it. Alone it
shows that record and columns are the ones that this link was made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import orjson

from gateway.kernel.errors import RecordError
from gateway.kernel.ids import is_ulid
from gateway.kernel.types import JSON, JSONObject
from gateway.records.chain import LINK_BYTES, genesis, link

SCHEME: Final = "lumyn.ledger.v0"


@dataclass(frozen=True, slots=True)
class Proof:
    """Where an entry stands: its writer and sequence, the link before it, its columns and its own link."""

    writer: str
    seq: int
    before: bytes
    header: bytes
    """Canonical JSON array, as `chain.header` gives it."""
    link: bytes

    def faults(self, body: bytes) -> tuple[str, ...]:
        """Say what does not hold for an entry of this body; empty where all does."""
        found = []
        if link(self.before, self.header, body) != self.link:
            found.append("its link is not that of this record")
        if self.seq == 0 and self.before != genesis(self.writer):
            found.append("its chain does not begin with its writer")
        return tuple(found)

    def value(self) -> JSONObject:
        """Return the proof as JSON."""
        return {
            "before": self.before.hex(),
            "header": orjson.loads(self.header),
            "link": self.link.hex(),
            "scheme": SCHEME,
            "seq": self.seq,
            "writer": self.writer,
        }

    @classmethod
    def read(cls, value: JSON) -> Self:
        """Return the proof that `value` holds. Raises RecordError."""
        if not isinstance(value, dict) or value.get("scheme") != SCHEME:
            raise _broken(f"its scheme is not {SCHEME}")
        writer, seq, header = value.get("writer"), value.get("seq"), value.get("header")
        if not isinstance(writer, str) or not is_ulid(writer):
            raise _broken("its writer is no ULID")
        if type(seq) is not int or seq < 0:
            raise _broken("its seq is no count")
        if not isinstance(header, list):
            raise _broken("its header is no list")
        return cls(writer, seq, _link(value.get("before")), orjson.dumps(header), _link(value.get("link")))


def _link(text: JSON) -> bytes:
    try:
        found = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        found = b""
    if len(found) != LINK_BYTES:
        raise _broken(f"a link is not {LINK_BYTES} bytes in hex")
    return found


def _broken(what: str) -> RecordError:
    return RecordError(f"the proof cannot be read: {what}")
