"""Packs checked: whole ones, altered ones, and those of the reference."""

from __future__ import annotations

import random
from pathlib import Path

import orjson
import pytest

from gateway.embed import Lumyn, LumynConfig
from gateway.embed.thread import shared
from gateway.engine.packs import check_pack
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import RecordError
from gateway.policy.document import read_document
from gateway.records.legacy import legacy_digest, legacy_inputs_digest
from gateway.records.pack import MANIFEST, POLICY, PROOF, RECORD, REQUEST, indented, read_pack, zip_entries
from tests.kit.refunds import refund


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The pack of a refund that memory escalated, from a store."""
    config = LumynConfig(store_path=tmp_path_factory.mktemp("packs") / "a.db")
    with Lumyn(config) as lumyn:
        lumyn.label(lumyn.decide(refund())["decision_id"], "failure")
        record = lumyn.decide(refund(18))
        return shared(config.url).call(lambda desk: desk.pack(record["decision_id"]))


def _with(data: bytes, **changed: bytes) -> bytes:
    """Return the pack with entries replaced (by position in `NAMES`) and its manifest made to fit."""
    entries = read_pack(data) | {NAMES[key]: value for key, value in changed.items()}
    digests = {name: sha256_digest(value) for name, value in entries.items() if name != MANIFEST}
    return zip_entries(entries | {MANIFEST: indented(digests)})


NAMES = {
    "record": RECORD,
    "request": REQUEST,
    "policy": POLICY,
    "proof": PROOF,
    "memory": "memory.json",
    "readme": "README.txt",
}


def test_a_pack_proves_itself(data: bytes) -> None:
    """A pack is decided again from its own entries alone, and nothing differs."""
    check = check_pack(data)
    assert (check.faults, check.legacy) == ((), False)
    assert check.record["verdict"] == "ESCALATE"


def test_every_altered_byte_is_found(data: bytes) -> None:
    """Whatever bit of the file flips, the pack is no longer whole."""
    places = random.Random(3)
    for at in places.sample(range(len(data)), 400):
        altered = bytearray(data)
        altered[at] ^= 1 << places.randrange(8)
        assert _found(bytes(altered)), at


def test_every_altered_byte_of_an_entry_is_found_though_the_zip_is_made_to_fit(data: bytes) -> None:
    """An entry changed by someone who mends checksums and manifest is found as well."""
    places = random.Random(4)
    entries = read_pack(data)
    for key, name in NAMES.items():
        for _ in range(25):
            altered = bytearray(entries[name])
            altered[places.randrange(len(altered))] ^= 1 << places.randrange(8)
            if key == "policy" and _same_policy(bytes(altered), entries[name]):
                continue  # a comment: the policy hash does not cover it, and the manifest was mended
            if key == "proof" and _same_place(bytes(altered), entries[name]):
                continue  # the sequence is bound by the store's chain only (records/chain.py)
            assert _found(_with(data, **{key: bytes(altered)})), (name, bytes(altered))


def _found(data: bytes) -> bool:
    try:
        return not check_pack(data).ok
    except RecordError:
        return True


def _same_policy(one: bytes, other: bytes) -> bool:
    from gateway.kernel.canon import canonical_bytes
    from gateway.kernel.errors import InvalidPolicyError

    try:
        return canonical_bytes(read_document(one).value) == canonical_bytes(read_document(other).value)
    except InvalidPolicyError:
        return False


def _same_place(one: bytes, other: bytes) -> bool:
    try:
        first, second = orjson.loads(one), orjson.loads(other)
    except orjson.JSONDecodeError:
        return False
    loose = {"seq": 0, "writer": ""}
    return isinstance(first, dict) and first | loose == second | loose


def test_a_forged_verdict_is_told_with_its_place(data: bytes) -> None:
    """A record that says TRUST where the engine says ESCALATE is told by its pointer."""
    record = orjson.loads(read_pack(data)[RECORD]) | {"verdict": "TRUST"}
    faults = check_pack(_with(data, record=indented(record))).faults
    assert f"{RECORD} /verdict is not what is decided" in faults
    assert f"{PROOF}: its link is not that of this record" in faults


def test_another_policy_is_told_by_its_hash(data: bytes) -> None:
    """A policy with another limit gives the mismatch line of the contract."""
    policy = read_pack(data)[POLICY].replace(b"refund_trust_usd: 25", b"refund_trust_usd: 26")
    (first, *_) = check_pack(_with(data, policy=policy)).faults
    assert first.startswith("policy_hash mismatch: record=sha256:")


def test_a_foreign_entry_is_told(data: bytes) -> None:
    """Something added to a pack is found."""
    entries = read_pack(data) | {"extra.txt": b"hello"}
    assert "extra.txt does not belong to the pack" in check_pack(zip_entries(entries)).faults


def test_a_pack_without_its_record_cannot_be_read(data: bytes) -> None:
    """A missing entry is a RecordError that names it."""
    entries = {name: value for name, value in read_pack(data).items() if name != RECORD}
    with pytest.raises(RecordError, match=RECORD):
        check_pack(zip_entries(entries))


@pytest.mark.parametrize(
    "part", ["policy", "request", "risk_signals", "determinism", "extensions", "created_at"]
)
def test_a_record_without_a_part_is_a_fault_and_never_a_crash(data: bytes, part: str) -> None:
    """A record that lacks a part is found or refused, whichever part it is."""
    record = orjson.loads(read_pack(data)[RECORD])
    del record[part]
    assert _found(_with(data, record=indented(record)))


def test_a_pack_of_the_reference_is_verified_in_its_own_spelling() -> None:
    """A pack in the reference's spelling, whole floats and all, passes; altered it does not."""
    policy = Path("policies/lumyn-support.v0.yml").read_bytes()
    request = refund() | {"policy": {"mode": "enforce"}}
    request["evidence"] |= {"failure_similarity_score": 0.0}
    request["action"]["amount"]["value"] = 20.0
    record = {
        "schema_version": "decision_record.v0",
        "decision_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "request": request,
        "policy": {"policy_hash": legacy_digest(read_document(policy).value)},
        "verdict": "TRUST",
        "determinism": {"engine_version": "1.3.6", "inputs_digest": legacy_inputs_digest(request)},
    }
    entries = {RECORD: indented(record), POLICY: policy, REQUEST: indented(request)}
    check = check_pack(zip_entries(entries))
    assert (check.faults, check.legacy) == ((), True)
    altered = entries | {REQUEST: entries[REQUEST].replace(b"T-1", b"T-2")}
    assert check_pack(zip_entries(altered)).faults == (f"{REQUEST} is not the request of the record",)
    altered = entries | {RECORD: entries[RECORD].replace(b"T-1", b"T-2")}
    assert any("inputs_digest mismatch" in fault for fault in check_pack(zip_entries(altered)).faults)
    altered = entries | {POLICY: policy.replace(b"refund_trust_usd: 25", b"refund_trust_usd: 26")}
    assert any("policy_hash mismatch" in fault for fault in check_pack(zip_entries(altered)).faults)
