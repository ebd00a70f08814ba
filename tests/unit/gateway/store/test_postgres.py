"""What only the PostgreSQL store promises: no secret in a message, readers that cannot write, its anchor."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kernel.errors import InvalidRequestError, StoreSetupError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.anchor import read_anchors
from gateway.store.postgres import READERS, open_postgres
from gateway.store.postgres_commit import connect
from tests.kit.entries import CountedRandomness, StillClock, decision


@pytest.mark.parametrize("dsn", ["postgresql://u:secret@127.0.0.1:1/x", "postgresql://u:secret@[x/y"])
async def test_no_message_holds_the_password(dsn: str) -> None:
    """A server that is not there, or a URL that is none, is one line without what is secret."""
    with pytest.raises(StoreSetupError) as caught:
        await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness())
    assert "secret" not in str(caught.value)
    assert "\n" not in caught.value.message
    assert caught.value.hint


async def test_an_anchor_that_cannot_be_made_is_said(dsn: str, tmp_path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(StoreSetupError, match="cannot open"):
        await open_postgres(
            dsn, clock=StillClock(), randomness=CountedRandomness(), anchor=tmp_path / "no" / "anchor"
        )


async def test_heads_are_anchored(dsn: str, tmp_path: Path) -> None:
    """Closing anchors the last entry in the file that was named."""
    anchor = tmp_path / "anchor"
    async with await open_postgres(
        dsn, clock=StillClock(), randomness=CountedRandomness(), anchor=anchor
    ) as store:
        await store.submit([decision(n) for n in range(5)])
        writer = store.writer
    assert {name: head.seq for name, head in read_anchors(anchor).items()} == {writer: 4}


async def test_readers_cannot_write_and_come_back(dsn: str) -> None:
    """A reading connection is read-only, and one that was lost is made anew for the next read."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.submit([decision(1)])
        for _ in range(READERS + 1):
            assert await store.decision(EVERY_TENANT, decision(1).entry_id) == decision(1)
        reader = store._free._queue[-1]  # type: ignore[attr-defined]
        assert await reader.fetchval("SHOW default_transaction_read_only") == "on"
        reader.terminate()
        assert await store.decision(EVERY_TENANT, decision(1).entry_id) == decision(1)


async def test_what_is_no_text_is_the_callers_mistake(dsn: str) -> None:
    """An id with a NUL or a lone surrogate cannot be asked for, and that is no fault of the store."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        for text in ("a\x00", "\ud800"):
            with pytest.raises(InvalidRequestError):
                await store.decision(EVERY_TENANT, text)
        assert store.health().ready


async def test_closing_leaves_no_connection(dsn: str) -> None:
    """A closed store holds nothing of the server."""
    async with await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness()) as store:
        await store.decision(EVERY_TENANT, "x")
    watcher = await connect(dsn, application_name="watcher")
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lumyn'"
    assert await watcher.fetchval(sql) == 0
    await watcher.close()
