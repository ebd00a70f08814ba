"""Verification reads one snapshot in pages of any size, and says what it cannot read."""

from __future__ import annotations

from functools import partial

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


async def tampered(dsn: str, statement: str) -> None:
    """Change what is stored behind the store's back."""
    connection = await connect(dsn)
    await connection.execute("DROP TRIGGER entries_never_change ON entries")
    await connection.execute(statement)
    await connection.close()


async def test_several_processes_find_what_one_finds(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut anywhere, by connections of their own, a store has the same faults and progress."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(number) for number in range(40)])
    monkeypatch.setattr(module, "SPAN_POSITIONS", 7)
    monkeypatch.setattr(module, "INLINE_MAX", 10)
    seen: list[tuple[int, int]] = []
    whole = await verify_postgres(dsn, jobs=2, progress=lambda done, total: seen.append((done, total)))
    assert (whole.faults, whole.records) == ((), 40)
    assert seen == [(done, 40) for done in (7, 14, 21, 28, 35, 40)]
    await tampered(dsn, "UPDATE entries SET verdict = 'QUERY' WHERE seq IN (13, 14, 30)")
    alone, together = await verify_postgres(dsn), await verify_postgres(dsn, jobs=2)
    assert together == alone
    assert {fault.seq for fault in together.faults} == {13, 14, 30}


async def test_processes_of_a_server_that_says_no_are_one_line(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong in another process is told in words, as in this one."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(number) for number in range(40)])
    for name in ("SPAN_POSITIONS", "INLINE_MAX"):
        monkeypatch.setattr(module, name, 10)
    honest = module.check_span_apart
    monkeypatch.setattr(module, "partial", lambda _, dsn, __, *rest: partial(honest, dsn, "none", *rest))
    with pytest.raises(RecordError, match="invalid snapshot"):
        await verify_postgres(dsn, jobs=2)


async def test_what_lies_behind_damage_is_looked_at(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch that the server cannot read is a fault, and the next stretch is read all the same."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(number) for number in range(30)])
    monkeypatch.setattr(module, "SPAN_POSITIONS", 10)
    monkeypatch.setattr(module, "DAMAGED", {"22012"})  # A division by zero stands for the damage.
    rows = module._ROWS.replace("position <= $2", "position <= $2 AND 1 / (position - 15) IS NOT NULL")
    monkeypatch.setattr(module, "_ROWS", rows)
    report = await verify_postgres(dsn)
    assert [fault.what[:32] for fault in report.faults if fault.seq == -1] == [
        "the database is damaged here: di"
    ]
    assert report.records == 20
