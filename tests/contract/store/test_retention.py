"""Retention on each driver: what goes, what stays, and that the chain verifies from every cut."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.kernel.bounds import IDEMPOTENCY_TTL_S
from gateway.kernel.errors import RecordError
from gateway.kernel.types import EVERY_TENANT, NO_TENANT
from gateway.store import retention
from gateway.store.archive import verify_archive
from gateway.store.audit import Report
from gateway.store.open import open_store
from gateway.store.port import DecisionFilter, Store
from gateway.store.retention import Export, Vault, drop, export_before
from gateway.store.retention_postgres import open_vault
from gateway.store.retention_sqlite import SqliteVault
from gateway.store.verify import verify_sqlite
from gateway.store.verify_postgres import verify_postgres
from gateway.system import SystemClock
from tests.contract.store.test_store import execute
from tests.kit.entries import (
    START_MS,
    CountedRandomness,
    control,
    decision,
    entry_id,
    event,
    memory_item,
    policy,
)

TTL_MS = int(IDEMPOTENCY_TTL_S * 1000)
COUNT = 40


@contextlib.asynccontextmanager
async def vault_of(url: str) -> AsyncIterator[Vault]:
    """The vault of a store that is there."""
    vault: Vault
    if url.startswith("sqlite:"):
        vault = SqliteVault(Path(url.removeprefix("sqlite:")))
    else:
        vault = await open_vault(url)
    try:
        yield vault
    finally:
        await vault.close()


async def verified(url: str, **anchors: object) -> Report:
    """What verification says of a store."""
    if url.startswith("sqlite:"):
        return verify_sqlite(Path(url.removeprefix("sqlite:")), **anchors)  # type: ignore[arg-type]
    return await verify_postgres(url, **anchors)  # type: ignore[arg-type]


async def fill(store: Store) -> None:
    """Forty decisions with their outcomes; the 5th is open, the 7th holds a key; memory and a policy."""
    await store.submit([policy(), control(1)])
    for number in range(COUNT):
        key = "key" if number == 7 else None
        await store.submit([decision(number, request_key=key)])
        kind = "note" if number == 5 else "outcome"
        await store.submit([event(number, decision(number).entry_id, kind)])
        if number % 10 == 3:
            await store.submit([memory_item(number)])


async def exported(url: str, path: Path, before_ms: int, now_ms: int) -> Export:
    """Export what is older than an instant, and read it back."""
    async with vault_of(url) as vault:
        with path.open("xb") as file:
            found = await export_before(vault, before_ms, now_ms, file)
    stretches = [(segment.lines, segment.digest) for segment in found.segments]
    assert verify_archive(path, stretches or None) == found.records
    return found


async def thin_out(store: Store, url: str, path: Path, before_ms: int, now_ms: int, salt: int = 9) -> Export:
    """Export, then drop."""
    found = await exported(url, path, before_ms, now_ms)
    async with vault_of(url) as vault:
        await drop(vault, store, found, entry_id=entry_id(1, salt), now_ms=now_ms)
    return found


@pytest.mark.parametrize("segment", [retention.SEGMENT_ENTRIES, 7])
async def test_what_is_bound_stays_and_the_rest_goes(
    store: Store, url: str, tmp_path: Path, segment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open decisions, keys in their time, memory and policies stay with their events; the chain verifies."""
    monkeypatch.setattr(retention, "SEGMENT_ENTRIES", segment)
    await fill(store)
    heads = (await verified(url)).heads
    found = await thin_out(store, url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    left = (await store.decisions(EVERY_TENANT, DecisionFilter(), limit=100, cursor=None)).decisions
    numbers = [*range(COUNT - 1, 19, -1), 7, 5]
    assert [entry.entry_id for entry in left] == [decision(number).entry_id for number in numbers]
    assert await store.decision_by_key(NO_TENANT, "key") is not None
    assert [e.event_type for e in await store.events(NO_TENANT, decision(7).entry_id)] == ["outcome"]
    assert [e.event_type for e in await store.events(NO_TENANT, decision(5).entry_id)] == ["note"]
    assert await store.dangling(limit=9) == (decision(5),)
    assert len(await store.memory(EVERY_TENANT, after=0, limit=99)) == 4
    assert await store.policy(policy().entry_id) == policy()
    assert (found.records, found.kept) == (1 + 1 + 20 * 2 + 2, 1 + 2 + 2 + 2)
    report = await verified(url, anchors=heads)
    assert report.faults == ()
    assert report.records == 1 + 1 + COUNT * 2 + 4 - found.dropped + 1, "and the record of the drop itself"


async def test_a_second_drop_takes_what_is_no_longer_bound(store: Store, url: str, tmp_path: Path) -> None:
    """Once its outcome came and its key ran out, what was kept goes; proofs and chains still fit."""
    await fill(store)
    await thin_out(store, url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    await store.submit([event(100, decision(5).entry_id)])
    again = await thin_out(store, url, tmp_path / "b", START_MS + 20, START_MS + 2 * TTL_MS, salt=10)
    assert (again.records, again.dropped) == (7, 4)
    assert await store.decision(EVERY_TENANT, decision(5).entry_id) is None
    assert await store.decision_by_key(NO_TENANT, "key") is None
    report = await verified(url)
    assert report.faults == ()
    for kept in (memory_item(13), decision(20), event(39, decision(39).entry_id), policy()):
        proof = await store.proof(kept.entry_id)
        assert proof is not None
        assert proof.faults(kept.body) == ()
    third = await thin_out(store, url, tmp_path / "c", START_MS + 1_000, START_MS + 3 * TTL_MS, salt=11)
    assert third.kept == 5
    assert (await verified(url)).faults == ()


async def test_nothing_old_means_nothing_dropped(store: Store, url: str, tmp_path: Path) -> None:
    """Where nothing is old enough the file is empty, and no segment and no record is made."""
    await store.submit([decision(1)])
    found = await thin_out(store, url, tmp_path / "a", START_MS, START_MS)
    assert (found.records, found.segments, (tmp_path / "a").read_bytes()) == (0, (), b"")
    assert (await verified(url)).records == 1


async def test_a_live_writer_and_a_new_one_go_on(store: Store, url: str, tmp_path: Path) -> None:
    """Whoever wrote before a drop and who comes after it both go on with whole chains."""
    await fill(store)
    await thin_out(store, url, tmp_path / "a", START_MS + 1_000, START_MS + 2 * TTL_MS)
    receipt = await store.submit([decision(200)])
    assert receipt.first_seq == 1 + 1 + COUNT * 2 + 4 + 1
    other = await open_store(url, clock=SystemClock(), randomness=CountedRandomness(7))
    assert (await other.submit([decision(201)])).first_seq == 0
    await other.close()
    report = await verified(url)
    assert report.faults == ()
    assert len(report.heads) == 2


KEPT = (
    "DELETE FROM entries WHERE kind = 'memory' AND position < 20",
    "DELETE FROM entries WHERE kind = 'policy'",
)


@pytest.mark.parametrize("statement", KEPT)
async def test_what_was_kept_is_guarded_as_before(
    store: Store, url: str, tmp_path: Path, statement: str
) -> None:
    """A sealed segment lets go what it names, and nothing else: the database refuses to remove the rest."""
    await fill(store)
    await thin_out(store, url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    with pytest.raises(Exception, match="append-only"):
        await execute(url, statement)
    assert (await verified(url)).faults == ()


@pytest.mark.parametrize("statement", KEPT)
async def test_what_was_kept_is_missed_when_it_goes(
    store: Store, url: str, tmp_path: Path, statement: str
) -> None:
    """Where the owner of the database takes the guard away, verification names a kept record that went."""
    await fill(store)
    await thin_out(store, url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    on = "" if url.startswith("sqlite") else " ON entries"
    await execute(url, f"DROP TRIGGER entries_never_leave{on}")
    await execute(url, statement)
    assert "retention had kept it" in (await verified(url)).faults[0].what


@pytest.mark.parametrize("run", ["1, 1, 999", "2, 1, 9", "0, 1, 9"])
async def test_only_what_the_newest_segment_seals_can_be_named(
    store: Store, url: str, tmp_path: Path, run: str
) -> None:
    """A run beyond its segment, or of a segment that is not the newest, cannot be let go."""
    await fill(store)
    await thin_out(store, url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    with pytest.raises(Exception, match="append-only"):
        await execute(url, f"INSERT INTO dropped VALUES ({run})")


async def test_unsealed_entries_are_still_guarded(store: Store, url: str, tmp_path: Path) -> None:
    """After a drop the database refuses to remove what lies behind the cut, and segments themselves."""
    await fill(store)
    await thin_out(store, url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    for statement in (
        "DELETE FROM entries WHERE seq > 60",
        "DELETE FROM segments",
        "DELETE FROM dropped",
        "UPDATE dropped SET last_position = 999",
    ):
        with pytest.raises(Exception, match="append-only"):
            await execute(url, statement)


async def test_two_drops_at_once_do_not_mix(store: Store, url: str, tmp_path: Path) -> None:
    """A drop whose export was made before another one sealed a segment is refused, and harms nothing."""
    await fill(store)
    first = await exported(url, tmp_path / "a", START_MS + 20, START_MS + TTL_MS)
    await thin_out(store, url, tmp_path / "b", START_MS + 10, START_MS + TTL_MS)
    async with vault_of(url) as vault:
        with pytest.raises(RecordError, match="another drop"):
            await drop(vault, store, first, entry_id=entry_id(2, 9), now_ms=START_MS)
    assert (await verified(url)).faults == ()


async def test_a_drop_that_stops_halfway_leaves_a_whole_store(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of its segments the store verifies, and the next drop takes the rest."""
    monkeypatch.setattr(retention, "SEGMENT_ENTRIES", 9)
    await fill(store)
    found = await exported(url, tmp_path / "a", START_MS + 30, START_MS + TTL_MS)
    assert len(found.segments) > 3
    async with vault_of(url) as vault:
        for segment in found.segments[:3]:
            await vault.drop(segment, START_MS)
            assert (await verified(url)).faults == ()
    await thin_out(store, url, tmp_path / "b", START_MS + 30, START_MS + TTL_MS)
    assert (await verified(url)).faults == ()
    assert await store.decision(EVERY_TENANT, decision(29).entry_id) is None
