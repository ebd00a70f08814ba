"""Labels become memory, in one process and across two stores on one file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from gateway.embed.config import LumynConfig
from gateway.embed.desk import Desk
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import EVERY_TENANT, NO_TENANT
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline import remember
from gateway.pipeline.remember import MemoryFeed, read_label
from gateway.records.types import MemoryEntry
from gateway.store.sqlite import SqliteStore, open_sqlite
from tests.kit.entries import StillClock, decision, entry_id
from tests.kit.refunds import refund
from tests.kit.seeded import SeededRandomness

CONFIG = LumynConfig(store_path="unused")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with await open_sqlite(
        tmp_path / "s.db", clock=StillClock(), randomness=SeededRandomness()
    ) as found:
        yield found


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    found = Desk(f"sqlite:{tmp_path}/s.db", StillClock(), SeededRandomness(7))
    yield found
    await found.close()


async def _decided(desk: Desk, value: float = 20) -> dict:
    return orjson.loads(await desk.decide(CONFIG, refund(value)))


async def test_a_label_of_another_writer_arrives_through_the_feed(desk: Desk, store: SqliteStore) -> None:
    """What one store labels, an index fed from another store on the same file knows after catching up."""
    record = await _decided(desk)
    await desk.append(record["decision_id"], "label", {"label": "failure"})
    index = MemoryIndex()
    feed = MemoryFeed(store, index)
    assert await feed.catch_up() == 1
    assert index.prefix("acme", "support.refund").length == 1
    assert await feed.catch_up() == 0


async def test_a_label_and_its_item_are_one_commit(desk: Desk, store: SqliteStore) -> None:
    """A label's event and memory item have sequence numbers side by side, and name each other."""
    record = await _decided(desk)
    appended = await desk.append(record["decision_id"], "label", {"label": " Failure ", "summary": "twice"})
    (event,) = await store.events(EVERY_TENANT, record["decision_id"])
    data = orjson.loads(event.body)["data"]
    assert data == {"label": "failure", "memory_id": appended.memory_id, "summary": "twice"}
    assert appended.memory_id is not None
    first, second = await store.proof(event.entry_id), await store.proof(appended.memory_id)
    assert first is not None
    assert second is not None
    assert (first.writer, first.seq + 1) == (second.writer, second.seq)


async def test_a_withdrawn_item_no_longer_speaks(desk: Desk) -> None:
    """An override of kind withdraw takes a failure back: the next like request is trusted again."""
    record = await _decided(desk)
    appended = await desk.append(record["decision_id"], "label", {"label": "failure"})
    held = await _decided(desk, 21)
    assert held["verdict"] == "ESCALATE"
    data = {"kind": "withdraw", "memory_id": appended.memory_id}
    await desk.append(record["decision_id"], "override", data)
    assert (await _decided(desk, 22))["verdict"] == "TRUST"


async def test_nobody_withdraws_an_item_of_another_decision(desk: Desk) -> None:
    """A withdrawal names an item that a label of the same decision made, or is refused with its pointer."""
    first, second = await _decided(desk), await _decided(desk, 300)
    appended = await desk.append(first["decision_id"], "label", {"label": "failure"})
    data = {"kind": "withdraw", "memory_id": appended.memory_id}
    with pytest.raises(InvalidRequestError) as caught:
        await desk.append(second["decision_id"], "override", data)
    assert caught.value.pointer == "/data/memory_id"


async def test_a_damaged_item_stops_nothing(store: SqliteStore) -> None:
    """An item that cannot be read is left out, and those after it are known."""
    broken = MemoryEntry(entry_id(1), NO_TENANT, 1, "support.refund", "failure", b"{}")
    await store.submit((decision(2), broken))
    index = MemoryIndex()
    assert await MemoryFeed(store, index).catch_up() == 1
    assert index.prefix(None, "support.refund").length == 0


async def test_catching_up_reads_more_than_one_page(
    desk: Desk, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More items than one read holds are all added, in the order of their commit."""
    record = await _decided(desk)
    for number in range(5):
        await desk.append(record["decision_id"], "label", {"label": "success", "summary": f"n{number}"})
    monkeypatch.setattr(remember, "READ_ITEMS", 2)
    index = MemoryIndex()
    assert await MemoryFeed(store, index).catch_up() == 5
    again = orjson.loads(await desk.decide(CONFIG, refund(23)))
    prefix = index.prefix("acme", "support.refund")
    assert again["determinism"]["memory_snapshot"] == prefix.name


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/data/label"),
        ({"label": "good"}, "/data/label"),
        ({"label": None}, "/data/label"),
        ({"label": ["failure"]}, "/data/label"),
        ({"label": "failure", "summary": 3}, "/data/summary"),
        ({"label": "failure", "summary": "x" * 2001}, "/data/summary"),
    ],
)
def test_bad_labels_are_refused_with_their_pointer(data: dict, pointer: str) -> None:
    """Only the three labels and a short summary are accepted; the error points at what is wrong."""
    with pytest.raises(InvalidRequestError) as caught:
        read_label(data)
    assert caught.value.pointer == pointer
