"""Every past schema opens, reads, verifies and takes new records; each is kept as a file of its time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.kernel.types import EVERY_TENANT, NO_TENANT, Tenant
from gateway.store.anchor import anchor_path
from gateway.store.port import ControlFilter
from gateway.store.sqlite import open_sqlite
from gateway.store.sqlite_schema import SCHEMA_VERSION
from gateway.store.verify import verify_sqlite
from gateway.system import SystemClock
from tests.kit.entries import CountedRandomness, control, decision, event, memory_item, policy

GOLDEN = Path(__file__).parent / "golden"
ACME = Tenant("acme")


def test_every_schema_has_its_golden_file() -> None:
    """A new schema comes with a database of it."""
    assert {path.name for path in GOLDEN.glob("*.sqlite")} == {
        f"schema-{number}.sqlite" for number in range(1, SCHEMA_VERSION + 1)
    }


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.sqlite")), ids=lambda path: str(path.stem))
async def test_a_past_schema_opens_and_verifies(golden: Path, tmp_path: Path) -> None:
    """Opened by today's code, a past store holds what it held, verifies, and takes more."""
    path = tmp_path / "lumyn.db"
    shutil.copyfile(golden, path)
    shutil.copyfile(anchor_path(golden), anchor_path(path))
    store = await open_sqlite(path, clock=SystemClock(), randomness=CountedRandomness(9))
    first = decision(1, tenant=ACME, request_key="key-1")
    assert await store.decision_by_key(ACME, "key-1") == first
    assert await store.events(ACME, first.entry_id) == (event(1, first.entry_id, tenant=ACME),)
    assert [item for _, item in await store.memory(NO_TENANT, after=0, limit=9)] == [memory_item(1)]
    assert await store.policy(policy().entry_id) == policy()
    found = await store.control(EVERY_TENANT, ControlFilter(), after=0, limit=9)
    assert [(record.seq, record.entry) for record in found] == [(5, control(1))]
    assert await store.mark_unknown() == 1
    await store.submit([decision(9)])
    assert await store.decision(EVERY_TENANT, decision(9).entry_id) == decision(9)
    await store.close()
    report = verify_sqlite(path)
    assert report.faults == ()
    assert report.records == 6 + 2
