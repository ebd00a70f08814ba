"""What every store promises, asked of each driver alike."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import string

import asyncpg
import pytest

from gateway.kernel.bounds import STORE_COLUMN_BYTES_MAX, STORE_QUEUE_MAX
from gateway.kernel.errors import (
    ConflictError,
    DuplicateKeyError,
    InvalidRequestError,
    StoreBusyError,
    StoreSetupError,
    StoreUnavailableError,
)
from gateway.kernel.types import EVERY_TENANT, NO_TENANT, Tenant
from gateway.store.open import open_store
from gateway.store.port import DecisionFilter, Receipt, Store
from gateway.system import SystemClock
from tests.kit.entries import CountedRandomness, control, decision, event, memory_item, policy

ACME, OTHER = Tenant("acme"), Tenant("other")
ANY = DecisionFilter()


async def test_a_receipt_means_that_it_can_be_read(store: Store) -> None:
    """What a receipt was given for is read back as it was, byte for byte."""
    entry = decision(1, tenant=ACME, request_key="k", reason_codes=("A", "B"))
    receipt = await store.submit([entry])
    assert (receipt.first_seq, receipt.last_seq) == (0, 0)
    assert await store.decision(ACME, entry.entry_id) == entry


async def test_sequence_numbers_are_contiguous_from_zero(store: Store) -> None:
    """Groups get consecutive numbers in the order of their submission."""
    waiting = [store.submit([decision(2 * n), decision(2 * n + 1)]) for n in range(50)]
    receipts = await asyncio.gather(*waiting)
    assert [(r.first_seq, r.last_seq) for r in receipts] == [(2 * n, 2 * n + 1) for n in range(50)]
    assert len({r.writer for r in receipts}) == 1


async def test_a_large_group_is_one_unit(store: Store) -> None:
    """A group beyond the batch bound is still stored whole."""
    receipt = await store.submit([decision(n) for n in range(300)])
    assert (receipt.first_seq, receipt.last_seq) == (0, 299)


@pytest.mark.parametrize("tenant", [NO_TENANT, ACME])
async def test_a_taken_key_refuses_its_group_alone(store: Store, tenant: Tenant) -> None:
    """The second holder of a key is refused with the first one's id; its neighbours are stored."""
    first = decision(1, tenant=tenant, request_key="k")
    before = store.submit([first])
    twin = store.submit([decision(2, tenant=tenant, request_key="k"), event(2, first.entry_id)])
    after = store.submit([decision(3, tenant=tenant)])
    assert (await before).last_seq == 0
    with pytest.raises(DuplicateKeyError) as caught:
        await twin
    assert caught.value.decision_id == first.entry_id
    assert (await after).first_seq == 1
    assert await store.events(EVERY_TENANT, first.entry_id) == ()
    again = store.submit([decision(4, tenant=tenant, request_key="k")])
    with pytest.raises(DuplicateKeyError):
        await again


async def test_a_key_belongs_to_its_tenant(store: Store) -> None:
    """The same key under another tenant, and under none, is another key."""
    entries = [
        decision(n, tenant=t, request_key="k") for n, t in enumerate((ACME, OTHER, NO_TENANT, Tenant("")))
    ]
    await asyncio.gather(*(store.submit([entry]) for entry in entries))
    for entry in entries:
        assert await store.decision_by_key(entry.tenant, "k") == entry
    assert await store.decision_by_key(Tenant("third"), "k") is None


async def test_a_key_is_taken_within_its_own_group(store: Store) -> None:
    """Two decisions of one group under one key: the group is refused."""
    with pytest.raises(DuplicateKeyError):
        await store.submit([decision(1, request_key="k"), decision(2, request_key="k")])
    assert (await store.decisions(EVERY_TENANT, ANY, limit=5, cursor=None)).decisions == ()


async def test_an_id_is_stored_once(store: Store) -> None:
    """A second entry of the same id is refused, and the chain has no gap."""
    await store.submit([decision(1)])
    twin, other = store.submit([decision(1, verdict="QUERY")]), store.submit([decision(2)])
    with pytest.raises(ConflictError):
        await twin
    assert (await other).first_seq == 1


async def test_a_policy_is_kept_once(store: Store) -> None:
    """Appending a policy again changes nothing; with it, the rest of the group is stored."""
    first = await store.submit([policy(), decision(1)])
    again = await store.submit([policy(), decision(2)])
    alone = await store.submit([policy()])
    assert (first.last_seq, again.first_seq, again.last_seq) == (1, 2, 2)
    assert (alone.first_seq, alone.last_seq) == (3, 2), "nothing was written: an empty range"
    assert await store.policy(policy().entry_id) == policy()
    assert await store.policy("sha256:none") is None


async def test_a_cancelled_caller_loses_nothing(store: Store) -> None:
    """Cancelling the future does not cancel the write."""
    waiting = store.submit([decision(1)])
    waiting.cancel()
    await store.submit([decision(2)])
    assert await store.decision(EVERY_TENANT, decision(1).entry_id) is not None


async def test_a_full_queue_pushes_back(store: Store) -> None:
    """Over the bound submit raises at once; what was queued is stored all the same."""
    waiting = [store.submit([control(n)]) for n in range(STORE_QUEUE_MAX)]
    with pytest.raises(StoreBusyError) as caught:
        store.submit([control(STORE_QUEUE_MAX)])
    assert caught.value.retry_after_s
    receipts = await asyncio.gather(*waiting)
    assert receipts[-1].last_seq == STORE_QUEUE_MAX - 1
    assert store.health().committed == STORE_QUEUE_MAX
    assert store.health().queued == 0


@pytest.mark.parametrize("text", ["\ud800", "a\x00b"])
async def test_what_no_database_can_store_is_refused_at_submit(store: Store, text: str) -> None:
    """A lone surrogate or a NUL in a column is refused before it can fail a batch."""
    with pytest.raises(InvalidRequestError):
        store.submit([decision(1, tenant=Tenant(text), body=b"{}")])
    assert (await store.submit([decision(2, tenant=Tenant("a\\u0000b"))])).last_seq == 0


async def test_tenants_do_not_see_each_other(store: Store) -> None:
    """Every read is confined to its tenant; the operator sees all."""
    await store.submit([decision(1, tenant=ACME), event(1, decision(1).entry_id, tenant=ACME)])
    await store.submit([memory_item(1, ACME), memory_item(2, OTHER)])
    key = decision(1).entry_id
    assert await store.decision(OTHER, key) is None
    assert await store.decision(NO_TENANT, key) is None
    assert await store.events(OTHER, key) == ()
    assert len(await store.events(ACME, key)) == 1
    assert (await store.decisions(OTHER, ANY, limit=9, cursor=None)).decisions == ()
    assert len((await store.decisions(EVERY_TENANT, ANY, limit=9, cursor=None)).decisions) == 1
    assert [item.tenant for _, item in await store.memory(OTHER, after=0, limit=9)] == [OTHER]
    assert len(await store.memory(EVERY_TENANT, after=0, limit=9)) == 2


async def test_pages_follow_each_other_without_gap_or_repeat(store: Store) -> None:
    """Walking the cursors gives every decision once, newest first, also within one millisecond."""
    entries = [decision(n, tenant=ACME, at_ms=1_000 + n // 4) for n in range(23)]
    await store.submit(entries)
    found, cursor = [], None
    while True:
        page = await store.decisions(ACME, ANY, limit=5, cursor=cursor)
        found += page.decisions
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == entries[::-1]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (DecisionFilter(verdict="QUERY"), [3]),
        (DecisionFilter(action_type="support.refund"), [2]),
        (DecisionFilter(model="small"), [1]),
        (DecisionFilter(reason_code="SECOND"), [4]),
        (DecisionFilter(reason_code="SECO"), []),
        (DecisionFilter(correlation_id="request-5"), [5]),
        (DecisionFilter(since_ms=1_004), [5, 4]),
        (DecisionFilter(until_ms=1_002), [1, 0]),
        (DecisionFilter(since_ms=1_001, until_ms=1_004, verdict="TRUST"), [2, 1]),
    ],
)
@pytest.mark.parametrize("scope", [ACME, EVERY_TENANT])
async def test_filters(store: Store, scope: Tenant, wanted: DecisionFilter, numbers: list[int]) -> None:
    """Each filter narrows a listing to what it names, exactly."""
    changes: list[dict[str, object]] = [
        {},
        {"model": "small"},
        {"action_type": "support.refund", "model": None},
        {"verdict": "QUERY"},
        {"reason_codes": ("FIRST", "SECOND")},
        {},
    ]
    await store.submit([decision(n, tenant=ACME, at_ms=1_000 + n, **c) for n, c in enumerate(changes)])
    page = await store.decisions(scope, wanted, limit=10, cursor=None)
    assert [entry.entry_id for entry in page.decisions] == [decision(n).entry_id for n in numbers]


@pytest.mark.parametrize("cursor", ["", "x", "1", "1-", "-1", "1-x", "9" * 30 + "-1", "1-\u0662"])
async def test_a_cursor_that_is_none_of_ours_is_refused(store: Store, cursor: str) -> None:
    """A made-up cursor is the caller's mistake, never ours."""
    with pytest.raises(InvalidRequestError):
        await store.decisions(EVERY_TENANT, ANY, limit=1, cursor=cursor)


async def test_the_longest_columns_can_be_stored_together(store: Store) -> None:
    """Every text at its bound at once, of letters that do not compress, is stored and found again."""
    noise = random.Random(1)
    texts = ["".join(noise.choices(string.ascii_letters, k=STORE_COLUMN_BYTES_MAX)) for _ in range(5)]
    tenant = Tenant(texts[0])
    names = ("request_key", "correlation_id", "model", "action_type")
    entry = decision(1, tenant=tenant, **dict(zip(names, texts[1:], strict=True)))
    await store.submit([entry, event(1, entry.entry_id, tenant=tenant)])
    assert await store.decision_by_key(tenant, texts[1]) == entry
    page = await store.decisions(tenant, DecisionFilter(correlation_id=texts[2]), limit=2, cursor=None)
    assert page.decisions == (entry,)
    with pytest.raises(InvalidRequestError, match="request_key"):
        store.submit([decision(2, request_key=texts[0] + "k")])
    assert store.health().ready


async def test_memory_comes_in_the_order_of_commit(store: Store) -> None:
    """Positions rise, and reading goes on after any of them."""
    await store.submit([memory_item(2), control(1), memory_item(1)])
    items = await store.memory(NO_TENANT, after=0, limit=10)
    assert [item for _, item in items] == [memory_item(2), memory_item(1)]
    assert [item for _, item in await store.memory(NO_TENANT, after=items[0][0], limit=10)] == [
        memory_item(1)
    ]
    assert len(await store.memory(NO_TENANT, after=0, limit=1)) == 1


async def test_dangling_decisions_await_an_outcome(store: Store) -> None:
    """Listed is what awaits an outcome and has none: a note is no outcome."""
    settled, open_one, never = decision(1), decision(2), decision(3, awaits_outcome=False)
    await store.submit([settled, open_one, never])
    await store.submit([event(1, settled.entry_id), event(2, open_one.entry_id, "note")])
    assert await store.dangling(limit=10) == (open_one,)


async def test_a_closed_store_says_so(store: Store) -> None:
    """Closing commits what is queued; afterwards every call is refused, and closing again is harmless."""
    waiting = store.submit([decision(1)])
    await store.close()
    assert (await waiting).last_seq == 0
    await store.close()
    with pytest.raises(StoreUnavailableError):
        store.submit([decision(2)])
    with pytest.raises(StoreUnavailableError):
        await store.decision(EVERY_TENANT, decision(1).entry_id)
    assert not store.health().ready


async def test_what_a_dead_writer_left_open_is_marked_unknown_once(store: Store, url: str) -> None:
    """A start marks what died with its process, exactly once, and leaves to the living what is theirs."""
    await store.submit([decision(1), decision(2, tenant=ACME), decision(3)])
    await store.submit([event(1, decision(1).entry_id)])
    other = await open_store(url, clock=SystemClock(), randomness=CountedRandomness(7))
    assert await other.mark_unknown() == 0, "the first is alive"
    await store.close()
    third = await open_store(url, clock=SystemClock(), randomness=CountedRandomness(8))
    counts = await asyncio.gather(other.mark_unknown(), third.mark_unknown())
    assert sum(counts) == 2
    assert await other.mark_unknown() == 0
    marks = await other.events(ACME, decision(2).entry_id)
    assert [(mark.event_type, b'"fate":"unknown"' in mark.body) for mark in marks] == [("outcome", True)]
    assert [mark.event_type for mark in await other.events(NO_TENANT, decision(3).entry_id)] == ["outcome"]
    assert len(await other.events(NO_TENANT, decision(1).entry_id)) == 1
    assert await other.dangling(limit=9) == ()
    await other.close()
    await third.close()


async def test_two_writers_share_one_store(store: Store, url: str) -> None:
    """Each writes a chain of its own from 0; a key taken by one is taken for the other."""
    other = await open_store(url, clock=SystemClock(), randomness=CountedRandomness(7))
    pairs = [(store.submit([decision(2 * n)]), other.submit([decision(2 * n + 1)])) for n in range(40)]
    mine = [await one for one, _ in pairs]
    theirs = [await two for _, two in pairs]
    assert [r.first_seq for r in mine] == [r.first_seq for r in theirs] == list(range(40))
    assert mine[0].writer != theirs[0].writer
    twins = [s.submit([decision(100 + n, request_key="k")]) for n, s in enumerate((store, other) * 4)]
    results = await asyncio.gather(*twins, return_exceptions=True)
    assert sum(isinstance(result, DuplicateKeyError) for result in results) == len(twins) - 1
    assert all(isinstance(result, Receipt | DuplicateKeyError) for result in results)
    await other.close()


async def test_the_database_itself_refuses_to_change_or_remove(store: Store, url: str) -> None:
    """UPDATE and DELETE on entries fail in the database, whoever asks."""
    await store.submit([decision(1)])
    for statement in ("UPDATE entries SET verdict = 'TRUST'", "DELETE FROM entries"):
        with pytest.raises(Exception, match="append-only"):
            await execute(url, statement)
    assert await store.decision(EVERY_TENANT, decision(1).entry_id) == decision(1)


async def test_a_newer_schema_is_refused(store: Store, url: str) -> None:
    """A database of a later version is left alone, in one line."""
    await store.close()
    bump = (
        "PRAGMA user_version = 99" if url.startswith("sqlite") else "INSERT INTO schema_version VALUES (99)"
    )
    await execute(url, bump)
    with pytest.raises(StoreSetupError, match="schema 99"):
        await open_store(url, clock=SystemClock(), randomness=CountedRandomness(7))


async def execute(url: str, statement: str) -> None:
    """Run a statement on the database behind the store's back."""
    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:"))) as connection:
            connection.execute(statement)
            connection.commit()
        return
    connection = await asyncpg.connect(url, server_settings={"search_path": "lumyn"})
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
