"""Decision packs: everything about one decision in one zip file, the same bytes wherever it is made.

A pack follows from the record, its policy and its proof alone: fixed timestamps, fixed order, nothing
compressed (compressors differ between versions, and a pack is some 30 kB). So whoever checks a pack makes
it again and compares, and no byte of it can change unnoticed. The first four entries are those of the
reference implementation (contract 6).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.kernel.bounds import MIB
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import RecordError
from gateway.kernel.types import JSON, JSONObject
from gateway.records.proof import Proof

RECORD: Final = "decision_record.json"
POLICY: Final = "policy.yml"
REQUEST: Final = "request.json"
README: Final = "README.txt"
MEMORY: Final = "memory.json"
PROOF: Final = "proof.json"
MANIFEST: Final = "manifest.json"

ENTRIES_MAX: Final = 32
"""A pack has seven; some room for what later versions add."""
PACK_BYTES_MAX: Final = 16 * MIB
"""A request is at most 1 MiB and stands in a pack three times, in indented spelling."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can say."""
_MODE: Final = 0o644 << 16


@dataclass(frozen=True, slots=True)
class PackContents:
    """What a pack is made of. `record` is without events; `proof` is None where there is no ledger."""

    record: JSONObject
    policy: bytes
    proof: Proof | None


def build_pack(contents: PackContents) -> bytes:
    """Return the pack's bytes."""
    return zip_entries(pack_entries(contents))


def pack_entries(contents: PackContents) -> dict[str, bytes]:
    """Return the pack's entries, in their order."""
    record = contents.record
    entries = {
        RECORD: indented(record),
        POLICY: contents.policy,
        REQUEST: indented(record["request"]),
        README: _readme(record).encode(),
        MEMORY: indented(_memory(record)),
    }
    if contents.proof is not None:
        entries[PROOF] = indented(contents.proof.value())
    entries[MANIFEST] = indented({name: sha256_digest(data) for name, data in entries.items()})
    return entries


def zip_entries(entries: Mapping[str, bytes]) -> bytes:
    """Return a zip file of these entries in this order; equal entries give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as file:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = _MODE
            file.writestr(info, data)
    return out.getvalue()


def read_pack(data: bytes) -> dict[str, bytes]:
    """Return the entries of a zip file by name. Raises RecordError for what is none, or too large."""
    if len(data) > PACK_BYTES_MAX:
        raise _broken(f"it is larger than {PACK_BYTES_MAX} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
            if len(members) > ENTRIES_MAX or sum(member.file_size for member in members) > PACK_BYTES_MAX:
                raise _broken("it holds more than a pack may")
            if len({member.filename for member in members}) < len(members):
                raise _broken("two entries have the same name")
            return {member.filename: _read_member(file, member) for member in members}
    # zipfile answers damage with any of these, where the damage lies deciding which.
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError) as error:
        raise _broken(f"it is no zip file ({type(error).__name__})") from None


def indented(value: JSON) -> bytes:
    """Return JSON for people: sorted keys, two spaces, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def _read_member(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    # One byte more than was declared: a member that goes on is refused, and never unpacked to its end.
    with file.open(member) as stream:
        data = stream.read(member.file_size + 1)
    if len(data) != member.file_size:
        raise _broken(f"{member.filename!r} is not as long as it says")
    return data


def _memory(record: JSONObject) -> JSONObject:
    similarity = record["risk_signals"]["failure_similarity"]
    return {
        "failure_score": similarity["score"],
        "hits": similarity["top_k"],
        "snapshot": record["determinism"]["memory_snapshot"],
    }


def _readme(record: JSONObject) -> str:
    return (
        f"Decision {record['decision_id']}: {record['verdict']} ({', '.join(record['reason_codes'])})\n"
        f"made at {record['created_at']} by {record['determinism']['engine_version']}\n\n"
        "To decide it again and compare every byte:\n\n"
        "    lumyn replay THIS_FILE.zip\n\n"
        f"{RECORD}  the record\n{REQUEST}  the request in it\n{POLICY}  the policy that decided\n"
        f"{MEMORY}  what experience memory said\n{PROOF}  where the record stands in its ledger\n"
        f"{MANIFEST}  the digests of the other entries\n"
    )


def _broken(what: str) -> RecordError:
    return RecordError(f"the pack cannot be read: {what}", code="REPLAY_DIFFERS", hint="export it again")
