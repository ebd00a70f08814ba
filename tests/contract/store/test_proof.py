"""Every stored entry can show its place in the ledger, whatever database is behind it."""

from __future__ import annotations

from gateway.records.chain import genesis
from gateway.store.open import open_store
from gateway.store.port import Store
from gateway.system import SystemClock
from tests.kit.entries import decision, entry_id, event, memory_item, policy
from tests.kit.seeded import SeededRandomness


async def test_the_proof_of_every_kind_holds(store: Store) -> None:
    """Decision, event, memory item and policy have proofs that hold, one after the other from genesis."""
    entries = [policy(1), decision(1), event(2, decision(1).entry_id), memory_item(3)]
    receipt = await store.submit(entries)
    before = genesis(receipt.writer)
    for seq, entry in enumerate(entries):
        proof = await store.proof(entry.entry_id)
        assert proof is not None
        assert proof.faults(entry.body) == ()
        assert (proof.writer, proof.seq, proof.before) == (receipt.writer, seq, before)
        before = proof.link


async def test_a_proof_follows_its_own_writer(store: Store, url: str) -> None:
    """Where two writers take turns each proof names the link of its own writer's entry before."""
    other = await open_store(url, clock=SystemClock(), randomness=SeededRandomness(4))
    try:
        receipts = [await (other if n % 2 else store).submit([decision(n)]) for n in range(6)]
    finally:
        await other.close()
    for number, receipt in enumerate(receipts):
        proof = await store.proof(decision(number).entry_id)
        assert proof is not None
        assert (proof.writer, proof.seq) == (receipt.writer, receipt.first_seq)
        assert proof.faults(decision(number).body) == ()


async def test_what_is_not_stored_has_no_proof(store: Store) -> None:
    """An unknown id gives None."""
    assert await store.proof(entry_id(99)) is None
