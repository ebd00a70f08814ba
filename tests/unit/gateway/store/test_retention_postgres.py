"""The vault of a PostgreSQL database: it waits for batches in flight, and drops whole segments."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.errors import RecordError, StoreUnavailableError
from gateway.store import retention_postgres as module
from gateway.store.postgres import open_postgres
from gateway.store.postgres_commit import connect
from gateway.store.retention import Segment
from gateway.store.retention_postgres import PostgresVault, open_vault
from gateway.store.segments import segment_text
from tests.kit.entries import START_MS, CountedRandomness, StillClock, decision

SEGMENT = Segment(1, 5, segment_text([], [], []), "sha256:0", 5, ((1, 2), (4, 5)))


@pytest.fixture
async def vault(dsn: str) -> PostgresVault:
    """The vault of ten decisions, one a millisecond, at positions 1 to 10."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(n, awaits_outcome=n == 2, request_key=f"k{n}") for n in range(10)])
    return await open_vault(dsn)


async def test_a_server_that_is_not_there_is_said() -> None:
    """One line, as the store itself would say it."""
    with pytest.raises(StoreUnavailableError, match="PostgreSQL"):
        await open_vault("postgresql://nobody@127.0.0.1:1/x")


async def test_the_stretch_ends_before_the_first_that_is_not_older(
    vault: PostgresVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to an instant, or the last of all; pages of any size give every row once."""
    monkeypatch.setattr(module, "_ROWS", module._ROWS.replace(f"LIMIT {module.PAGE_ENTRIES}", "LIMIT 2"))
    assert [await vault.end(START_MS + n) for n in (0, 3, 10, 99)] == [0, 3, 10, 10]
    assert [row[0] async for row in vault.rows(5)] == [1, 2, 3, 4, 5]
    assert await vault.bound(5, START_MS + 4) == {decision(2).entry_id, decision(4).entry_id}
    await vault.close()


async def test_a_batch_in_flight_is_waited_for(vault: PostgresVault, dsn: str) -> None:
    """A position that is taken and not committed yet cannot slip below the end of the stretch."""
    writer = await connect(dsn)
    transaction = writer.transaction()
    await transaction.start()
    await writer.execute(
        "INSERT INTO entries (writer, seq, link, kind, entry_id, at_ms, body) "
        "VALUES (1, 99, '', 'c', 'i', $1, '')",
        START_MS + 50,
    )
    asked = asyncio.get_running_loop().create_task(vault.end(START_MS + 99))
    done, _ = await asyncio.wait([asked], timeout=0.1)
    assert not done
    await transaction.commit()
    assert await asked == 11
    await writer.close()
    await vault.close()


async def test_a_segment_goes_whole_or_not_at_all(vault: PostgresVault) -> None:
    """Exactly its runs go; a number that is taken, or a run that is not sealed, drops nothing."""
    with pytest.raises(StoreUnavailableError, match="append-only"):
        await vault.drop(Segment(1, 5, SEGMENT.text, "", 1, ((1, 6),)), 7)
    await vault.drop(SEGMENT, 7)
    with pytest.raises(RecordError, match="another drop"):
        await vault.drop(Segment(1, 8, SEGMENT.text, "", 1, ((6, 6),)), 7)
    assert [row[0] async for row in vault.rows(10)] == [3, 6, 7, 8, 9, 10]
    assert (await vault.cuts())[0] == 1
    await vault.close()
