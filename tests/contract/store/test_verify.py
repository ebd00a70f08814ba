"""Verification names the same tampering on each driver."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import RecordError
from gateway.store.port import Store
from gateway.store.verify_postgres import verify_postgres
from tests.contract.store.test_retention import verified
from tests.contract.store.test_store import execute
from tests.kit.entries import decision

TRIGGERS = ("entries_never_change", "entries_never_leave")


async def tamper(url: str, statement: str) -> None:
    """Change the database as one would who owns it: triggers away first."""
    for trigger in TRIGGERS:
        await execute(url, f"DROP TRIGGER {trigger}" + ("" if url.startswith("sqlite") else " ON entries"))
    await execute(url, statement)


@pytest.mark.parametrize(
    ("statement", "seq", "word"),
    [
        ("UPDATE entries SET verdict = 'QUERY' WHERE seq = 7", 7, "changed"),
        ("UPDATE entries SET body = link WHERE seq = 7", 7, "changed"),
        ("UPDATE entries SET label = 'x' WHERE seq = 3", 3, "column is set"),
        ("DELETE FROM entries WHERE seq = 7", 8, "sequence 7 is missing"),
        ("DELETE FROM entries WHERE seq > 16", 17, "truncated"),
        ("UPDATE entries SET writer = 99 WHERE seq = 7", 7, "writer is not known"),
    ],
)
async def test_tampering_is_found_and_named(
    store: Store, url: str, statement: str, seq: int, word: str
) -> None:
    """The first changed, missing or cut record is named; a head from a log shows a cut tail."""
    for number in range(20):
        await store.submit([decision(number)])
    whole = await verified(url)
    assert (whole.faults, whole.records) == ((), 20)
    await tamper(url, statement)
    first = (await verified(url, anchors=whole.heads)).faults[0]
    assert (first.seq, word in first.what) == (seq, True), str(first)


async def test_progress_reaches_the_end(store: Store, url: str) -> None:
    """The last call says that all is done."""
    await store.submit([decision(number) for number in range(50)])
    seen: list[tuple[int, int]] = []
    await verified(url, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (50, 50)


async def test_a_server_without_a_store_is_one_line(url: str) -> None:
    """Where there is no store there is nothing to verify, and that is said."""
    with pytest.raises(RecordError, match="cannot be read"):
        await verified(url)
    with pytest.raises(RecordError, match="cannot be read"):
        await verify_postgres("postgresql://nobody@127.0.0.1:1/x")
