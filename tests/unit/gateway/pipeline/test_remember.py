"""Memory kept up to date from a real store: labels go in, the index follows, nobody takes back another's."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from gateway.kernel.errors import InvalidRequestError, StoreUnavailableError
from gateway.kernel.types import NO_TENANT
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline import remember
from gateway.pipeline.remember import SUMMARY_CHARS_MAX, MemoryFeed, labelled, read_label, withdrawn
from tests.kit.entries import decision, entry_id, event, memory_item

KIND = "llm.chat_completion"


def count(index: MemoryIndex) -> int:
    """How many entries the index has seen of the tests' tenant and action type."""
    return index.prefix(None, KIND).length


def item(number: int) -> Any:
    """A memory entry that labels decision `number`."""
    return labelled(decision(number), memory_id=entry_id(number, 2), at_ms=1, label="failure", summary=None)


async def test_the_index_follows_the_store(desk) -> None:
    """Each call adds what was committed since the last one, once."""
    index = MemoryIndex()
    feed = MemoryFeed(desk.store, index)
    assert await feed.catch_up() == 0
    await desk.store.submit((decision(1), item(1)))
    await desk.store.submit((decision(2), item(2)))
    assert await feed.catch_up() == 2
    assert await feed.catch_up() == 0
    assert count(index) == 2


async def test_a_long_log_is_read_in_pieces(desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one page, and more than one pause, miss and repeat nothing."""
    monkeypatch.setattr(remember, "READ_ITEMS", 3)
    monkeypatch.setattr(remember, "DECODE_ITEMS", 2)
    for number in range(7):
        await desk.store.submit((item(number),))
    index = MemoryIndex()
    feed = MemoryFeed(desk.store, index)
    first, second = await asyncio.gather(feed.catch_up(), feed.catch_up())
    assert first + second == 7
    assert count(index) == 7


async def test_a_damaged_item_is_left_out_and_said(desk, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad entry stops neither the others nor the start."""
    monkeypatch.setattr(remember.LOG, "propagate", True)
    await desk.store.submit((memory_item(1), item(2)))
    index = MemoryIndex()
    assert await MemoryFeed(desk.store, index).catch_up() == 2
    assert count(index) == 1
    assert [record.getMessage() for record in caplog.records] == ["memory item cannot be read"]


async def test_following_goes_on_after_trouble_and_says_so_once(
    desk, caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that cannot be read is named once, and read again when it can be."""
    monkeypatch.setattr(remember, "FOLLOW_S", 0.001)
    monkeypatch.setattr(remember.LOG, "propagate", True)
    index = MemoryIndex()
    feed = MemoryFeed(desk.store, index)
    real, failures = desk.store.memory, [StoreUnavailableError("busy")] * 3

    async def troubled(*args: Any, **kwargs: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(*args, **kwargs)

    monkeypatch.setattr(desk.store, "memory", troubled)
    following = asyncio.create_task(feed.follow())  # noqa: TID251 - awaited below
    await desk.store.submit((item(1),))
    async with asyncio.timeout(5):
        while not count(index):
            await asyncio.sleep(0.001)
    following.cancel()
    await asyncio.wait([following])
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ({"label": "failure"}, ("failure", None)),
        ({"label": " Near_Miss ", "summary": " it went wrong "}, ("near_miss", "it went wrong")),
        ({"label": "success", "summary": "  "}, ("success", None)),
    ],
)
def test_labels(data: dict[str, Any], wanted: tuple[str, str | None]) -> None:
    """The three labels, whatever their case; a blank summary is none."""
    assert read_label(data) == wanted


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/data/label"),
        ({"label": 1}, "/data/label"),
        ({"label": "withdrawn"}, "/data/label"),
        ({"label": "failure", "summary": 5}, "/data/summary"),
        ({"label": "failure", "summary": "x" * (SUMMARY_CHARS_MAX + 1)}, "/data/summary"),
    ],
)
def test_what_is_no_label(data: dict[str, Any], pointer: str) -> None:
    """It is refused with a pointer to what is wrong."""
    with pytest.raises(InvalidRequestError) as caught:
        read_label(data)
    assert caught.value.pointer == pointer


def test_a_withdrawal_names_its_item() -> None:
    """An item that a label of the decision made can be taken back, with or without words."""
    label = event(1, entry_id(1), "label", body=orjson.dumps({"data": {"memory_id": "M"}}))
    entry = withdrawn(decision(1), (label,), {"memory_id": "M"}, memory_id="W", at_ms=1)
    assert (entry.entry_id, entry.tenant, entry.label) == ("W", NO_TENANT, "withdrawn")
    assert orjson.loads(entry.body)["withdraws"] == "M"
    assert orjson.loads(entry.body)["summary"] == "withdrawn"


@pytest.mark.parametrize("kind", ["note", "override", "outcome"])
def test_nobody_withdraws_what_is_not_theirs(kind: str) -> None:
    """An id that the caller wrote into an event of another type is not one that a label made."""
    forged = event(1, entry_id(1), kind, body=orjson.dumps({"data": {"memory_id": "M"}}))
    for data in ({"memory_id": "M"}, {"memory_id": None}, {}):
        with pytest.raises(InvalidRequestError) as caught:
            withdrawn(decision(1), (forged,), data, memory_id="W", at_ms=1)
        assert caught.value.pointer == "/data/memory_id"
