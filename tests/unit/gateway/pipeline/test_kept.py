"""What is stored can be read and labelled, whatever is in force now."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from gateway.kernel.errors import ConflictError, InvalidRequestError, NotFoundError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.kept import KeptDecisions
from gateway.pipeline.remember import MemoryFeed
from gateway.store.sqlite import SqliteStore, open_sqlite
from tests.kit.entries import StillClock, decision, entry_id
from tests.kit.seeded import SeededRandomness


async def _open(folder: Path) -> SqliteStore:
    return await open_sqlite(folder / "s.db", clock=StillClock(), randomness=SeededRandomness())


def _kept(store: SqliteStore) -> KeptDecisions:
    clock = StillClock()
    return KeptDecisions(store, clock, IdSource(clock, SeededRandomness(9)), MemoryFeed(store, MemoryIndex()))


async def test_reading_and_noting_need_no_policy(tmp_path: Path) -> None:
    """On a store alone a record is read as it is stored, then with the note that was appended."""
    async with await _open(tmp_path) as store:
        entry = decision(1, awaits_outcome=False)
        await store.submit((entry,))
        kept = _kept(store)
        assert await kept.read(EVERY_TENANT, entry.entry_id) == entry.body
        appended = await kept.append_event(EVERY_TENANT, entry.entry_id, "note", {"text": "seen"})
        log = orjson.loads(await kept.read(EVERY_TENANT, entry.entry_id))["decision_event_log"]
        assert [(event["event_id"], event["data"]) for event in log] == [
            (appended.event_id, {"text": "seen"})
        ]


async def test_nobody_approves_by_an_event(tmp_path: Path) -> None:
    """An override that says it is an approval is refused, and says where one approves."""
    async with await _open(tmp_path) as store:
        entry = decision(1, verdict="ESCALATE")
        await store.submit((entry,))
        with pytest.raises(InvalidRequestError) as caught:
            await _kept(store).append_event(EVERY_TENANT, entry.entry_id, "override", {"kind": "approval"})
        assert caught.value.pointer == "/data/kind"
        assert await store.events(EVERY_TENANT, entry.entry_id) == ()


async def test_a_tenant_sees_its_own_only(tmp_path: Path) -> None:
    """Another tenant can neither read nor note a decision; to it there is none of that id."""
    async with await _open(tmp_path) as store:
        entry = decision(1, tenant=Tenant("acme"))
        await store.submit((entry,))
        kept = _kept(store)
        for wanted in (entry.entry_id, entry_id(7)):
            with pytest.raises(NotFoundError):
                await kept.read(Tenant("other"), wanted)
            with pytest.raises(NotFoundError):
                await kept.append_event(Tenant("other"), wanted, "note", {})


async def test_who_acted_records_the_one_outcome(tmp_path: Path) -> None:
    """An awaited outcome is refused from anybody else, taken from who acted, and refused a second time."""
    async with await _open(tmp_path) as store:
        entry = decision(1)
        await store.submit((entry,))
        kept = _kept(store)
        data = {"fate": "complete"}
        with pytest.raises(ConflictError):
            await kept.append_event(EVERY_TENANT, entry.entry_id, "outcome", data)
        await kept.append_event(EVERY_TENANT, entry.entry_id, "outcome", data, acted=True)
        with pytest.raises(ConflictError):
            await kept.append_event(EVERY_TENANT, entry.entry_id, "outcome", data, acted=True)


async def test_nobody_else_records_attempts(tmp_path: Path) -> None:
    """A note that claims to be a further attempt is refused, whoever sends it; other kinds are notes."""
    async with await _open(tmp_path) as store:
        await store.submit((decision(1),))
        kept = _kept(store)
        with pytest.raises(InvalidRequestError) as caught:
            await kept.append_event(EVERY_TENANT, decision(1).entry_id, "note", {"kind": "attempt"})
        assert caught.value.pointer == "/data/kind"
        await kept.append_event(EVERY_TENANT, decision(1).entry_id, "note", {"kind": "comment"})
