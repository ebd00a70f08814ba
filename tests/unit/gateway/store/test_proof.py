"""Looking up a record's place in the ledger."""

from __future__ import annotations

from pathlib import Path

from gateway.store.sqlite import open_sqlite
from tests.kit.entries import StillClock, decision, entry_id
from tests.kit.seeded import SeededRandomness


async def test_every_entry_of_interleaved_writers_has_a_proof_that_holds(tmp_path: Path) -> None:
    """Two writers take turns in one file: each entry's proof holds, with its writer's sequence."""
    path, clock = tmp_path / "s.db", StillClock()
    async with (
        await open_sqlite(path, clock=clock, randomness=SeededRandomness(1)) as one,
        await open_sqlite(path, clock=clock, randomness=SeededRandomness(2)) as other,
    ):
        entries = [decision(number) for number in range(12)]
        for number, entry in enumerate(entries):
            await (other if number % 3 else one).submit((entry,))
        places = []
        for entry in entries:
            proof = await one.proof(entry.entry_id)
            assert proof is not None
            assert proof.faults(entry.body) == ()
            places.append((proof.writer, proof.seq))
        assert [seq for writer, seq in places if writer == one.writer] == list(range(4))
        assert [seq for writer, seq in places if writer == other.writer] == list(range(8))
        assert await one.proof(entry_id(99)) is None
