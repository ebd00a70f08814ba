"""A record's place in the ledger, shown without the ledger."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import RecordError
from gateway.records.chain import genesis, header, link
from gateway.records.proof import Proof
from tests.kit.entries import decision, entry_id

ENTRY = decision(1)
WRITER = entry_id(0)


def _proof(**changed: object) -> Proof:
    before = genesis(WRITER)
    fields: dict = {
        "writer": WRITER,
        "seq": 0,
        "before": before,
        "header": header(ENTRY),
        "link": link(before, header(ENTRY), ENTRY.body),
    } | changed
    return Proof(**fields)


def test_a_proof_holds_for_its_record_and_survives_json() -> None:
    """A proof read back from its JSON is the same, and holds for the body it was made of."""
    proof = _proof()
    assert Proof.read(proof.value()) == proof
    assert proof.faults(ENTRY.body) == ()


@pytest.mark.parametrize(
    "proof",
    [
        _proof(before=b"x" * 32),
        _proof(header=header(decision(2))),
        _proof(link=b"x" * 32),
        _proof(writer=entry_id(5)),
    ],
)
def test_any_other_part_does_not_hold(proof: Proof) -> None:
    """Another link before, other columns, another link or another writer is found."""
    assert proof.faults(ENTRY.body)


def test_another_body_does_not_hold() -> None:
    """One byte more in the body is found."""
    assert _proof().faults(ENTRY.body + b" ")


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "other"},
        {"writer": "me"},
        {"seq": -1},
        {"seq": True},
        {"before": "zz"},
        {"link": "00"},
        {"header": {}},
    ],
)
def test_what_is_no_proof_is_refused(change: dict) -> None:
    """Each damaged member is a RecordError."""
    with pytest.raises(RecordError):
        Proof.read(_proof().value() | change)
