"""Decision packs checked: made again byte for byte, and their decision made again from policy and memory.

Packs of the reference implementation carry no memory and no proof; their digests are verified in its own
spelling, and their decision is not made again, because its engine is not this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.errors import GatewayError, InvalidPolicyError, RecordError
from gateway.kernel.parse import parse_json
from gateway.kernel.types import JSON, JSONObject
from gateway.policy.compile import compile_policy
from gateway.policy.document import read_document
from gateway.records import legacy
from gateway.records.pack import (
    POLICY,
    PROOF,
    RECORD,
    REQUEST,
    PackContents,
    pack_entries,
    read_pack,
    zip_entries,
)
from gateway.records.proof import Proof

NEEDED: Final = (RECORD, REQUEST, POLICY)


@dataclass(frozen=True, slots=True)
class PackCheck:
    """A pack's record, and what in the pack is not as it must be; `legacy` where the reference wrote it."""

    record: JSONObject
    faults: tuple[str, ...]
    legacy: bool

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return not self.faults


def check_pack(data: bytes) -> PackCheck:
    """Return what is wrong with a pack. Raises RecordError where it cannot be read at all."""
    entries = read_pack(data)
    missing = [name for name in NEEDED if name not in entries]
    if missing:
        raise _unreadable(f"it has no {', '.join(missing)}")
    record = _record(entries[RECORD])
    if _is_ours(record):
        return PackCheck(record, tuple(_faults(data, entries, record)), legacy=False)
    return PackCheck(record, tuple(_legacy_faults(entries)), legacy=True)


def _faults(data: bytes, entries: Mapping[str, bytes], record: JSONObject) -> list[str]:
    """Decide again first: what else differs is told by the names of the entries."""
    found: list[str] = []
    try:
        policy = compile_policy(entries[POLICY], source=POLICY)
    except InvalidPolicyError as error:
        return [f"{POLICY} is no policy: {error.problems[0]}"]
    recorded_hash = record["policy"]["policy_hash"] if isinstance(record.get("policy"), dict) else None
    if policy.policy_hash != recorded_hash:
        found.append(f"policy_hash mismatch: record={recorded_hash} computed={policy.policy_hash}")
    again = replay(record, policy, recorded_advice(record))
    recorded = record["determinism"].get("inputs_digest")
    if again.decision.inputs_digest != recorded:
        found.append(f"inputs_digest mismatch: record={recorded} computed={again.decision.inputs_digest}")
    found += [f"{RECORD} {pointer or '(as a whole)'} is not what is decided" for pointer in again.differences]
    proof = None
    if PROOF in entries:
        proof = Proof.read(_json(entries[PROOF], PROOF))
        found += [f"{PROOF}: {fault}" for fault in proof.faults(canonical_bytes(record))]
    if again.differences:
        return found  # a record of another shape than the engine's: nothing can be made of it
    wanted = pack_entries(PackContents(record, entries[POLICY], proof))
    found += [f"{name} was changed" for name, bytes_ in wanted.items() if entries.get(name) != bytes_]
    found += [f"{name} does not belong to the pack" for name in entries if name not in wanted]
    if not found and zip_entries(wanted) != data:
        found.append("the zip file around the entries was changed")
    return found


def _legacy_faults(entries: Mapping[str, bytes]) -> list[str]:
    record = legacy.read_legacy(entries[RECORD])
    request = legacy.read_legacy(entries[REQUEST])
    try:
        policy: JSON = read_document(entries[POLICY], source=POLICY).value
    except InvalidPolicyError as error:
        return [f"{POLICY} cannot be read: {error.problems[0]}"]
    found = list(legacy.differences(record, policy))
    if not isinstance(record, dict) or legacy.legacy_bytes(record.get("request")) != legacy.legacy_bytes(
        request
    ):
        found.append(f"{REQUEST} is not the request of the record")
    return found


def _is_ours(record: JSONObject) -> bool:
    """The reference names no memory snapshot; our records always do."""
    determinism = record.get("determinism")
    return isinstance(determinism, dict) and "memory_snapshot" in determinism


def _record(data: bytes) -> JSONObject:
    """Read a record of ours strictly, and what the strict reader refuses as the reference would."""
    try:
        value: JSON = parse_json(data)
    except GatewayError:
        value = legacy.read_legacy(data)
    if not isinstance(value, dict):
        raise _unreadable(f"{RECORD} is no object")
    return value


def _json(data: bytes, name: str) -> JSON:
    try:
        return parse_json(data)
    except GatewayError as error:
        raise _unreadable(f"{name}: {error.message}") from None


def _unreadable(what: str) -> RecordError:
    return RecordError(f"the pack cannot be read: {what}", code="REPLAY_DIFFERS", hint="export it again")
