"""Verification reads one snapshot in pages of any size, and says what it cannot read."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import RecordError
from gateway.store import verify_postgres as module
from gateway.store.postgres import open_postgres
from gateway.store.postgres_commit import connect
from gateway.store.verify_postgres import verify_postgres
from tests.kit.entries import CountedRandomness, StillClock, control, decision, event, memory_item, policy


@pytest.mark.parametrize("page", [1, 3, module.PAGE_ENTRIES])
async def test_every_kind_of_two_writers_verifies(
    dsn: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is read, a whole store is whole, and progress counts every record."""
    monkeypatch.setattr(
        module, "_ROWS", module._ROWS.replace(f"LIMIT {module.PAGE_ENTRIES}", f"LIMIT {page}")
    )
    clock = StillClock()
    async with (
        await open_postgres(dsn, clock=clock, randomness=CountedRandomness(1)) as one,
        await open_postgres(dsn, clock=clock, randomness=CountedRandomness(2)) as two,
    ):
        for number in range(3):
            await one.submit([decision(number), event(number, decision(number).entry_id)])
            await two.submit([policy(), control(number), memory_item(number)])
    seen: list[tuple[int, int]] = []
    report = await verify_postgres(dsn, progress=lambda done, total: seen.append((done, total)))
    assert report.faults == ()
    assert (report.records, seen[-1]) == (13, (13, 13))
    assert sorted(head.seq for head in report.heads.values()) == [5, 6]


async def test_what_is_written_meanwhile_is_no_fault(dsn: str) -> None:
    """A store that grows while it is looked at is seen as it was at the beginning."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(1)])
        report = await verify_postgres(dsn, progress=lambda *_: store.submit([decision(2)]) and None)
        assert (report.records, report.faults) == (1, ())


async def test_a_segment_that_cannot_be_read_is_said(dsn: str) -> None:
    """What is damaged in the segments themselves is an error with words."""
    await (await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness())).close()
    connection = await connect(dsn)
    await connection.execute("INSERT INTO segments VALUES (1, 0, 0, '{}', '')")
    await connection.close()
    with pytest.raises(RecordError, match="segment cannot be read"):
        await verify_postgres(dsn)
