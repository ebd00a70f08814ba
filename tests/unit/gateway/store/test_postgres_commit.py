"""The writing connection: marks of life, a new chain after each loss, and a server that keeps its word."""

from __future__ import annotations

import pytest

from gateway.kernel.errors import StoreSetupError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.postgres import open_postgres
from gateway.store.postgres_commit import _check_promises, connect, mark_of, reason_of
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import CountedRandomness, StillClock, decision, event
from tests.kit.gateways import eventually


def test_a_mark_is_a_key_of_its_writer() -> None:
    """Always the same for one writer, within 64 bits, and another for another."""
    assert mark_of("W") == mark_of("W") != mark_of("V")
    assert all(-(1 << 63) <= mark_of(str(n)) < 1 << 63 for n in range(99))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "PostgreSQL: no answer in time (TimeoutError)"),
        (OSError("refused\nmore"), "PostgreSQL: refused (OSError)"),
    ],
)
def test_a_reason_is_one_line(error: Exception, words: str) -> None:
    """What the server said, or that it said nothing."""
    assert reason_of(error) == words


async def test_a_connection_has_the_settings_that_durability_rests_on(dsn: str) -> None:
    """Answers come after the flush, and our tables are found."""
    connection = await connect(dsn)
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    assert await connection.fetchval("SHOW search_path") == "lumyn"
    await connection.close()


class Server:
    """A server that answers two questions."""

    def __init__(self, fsync: str, *, standby: bool) -> None:
        self._answers = {"SHOW fsync": fsync, "SELECT pg_is_in_recovery()": standby}

    async def fetchval(self, sql: str) -> object:
        return self._answers[sql]


async def test_a_server_that_keeps_nothing_is_refused() -> None:
    """Without fsync, or as somebody's standby, a server is no store; each is one line."""
    await _check_promises(Server("on", standby=False))
    with pytest.raises(StoreSetupError, match="fsync=off"):
        await _check_promises(Server("off", standby=False))
    with pytest.raises(StoreSetupError, match="standby"):
        await _check_promises(Server("on", standby=True))


async def test_a_lost_connection_begins_a_new_chain(dsn: str) -> None:
    """The writer is another one after a loss, its chain begins at 0, and what was acknowledged is there."""
    store = await open_postgres(dsn, clock=SystemClock(), randomness=SystemRandomness())
    first = await store.submit([decision(1)])
    killer = await connect(dsn)
    await killer.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'lumyn' AND pid <> pg_backend_pid()"
    )
    waiting = store.submit([decision(2)])
    await eventually(waiting.done)
    assert waiting.exception() is not None
    assert await eventually(lambda: store.health().ready), store.health()
    again = await store.submit([decision(3)])
    assert (again.first_seq, again.writer != first.writer) == (0, True)
    assert await store.decision(EVERY_TENANT, decision(1).entry_id) == decision(1)
    await killer.close()
    await store.close()


async def test_a_living_writer_holds_its_mark(dsn: str) -> None:
    """Another session gets the lock only when the writer is gone."""
    store = await open_postgres(dsn, clock=StillClock(), randomness=CountedRandomness())
    other = await connect(dsn)
    mark, sql = mark_of(store.writer), "SELECT pg_try_advisory_lock($1)"
    assert not await other.fetchval(sql, mark)
    await store.close()
    assert await other.fetchval(sql, mark)
    await other.close()


async def test_a_writer_that_lost_its_connection_is_not_taken_for_dead(dsn: str) -> None:
    """What it has on its way gets its own fate when it is back, and no other start calls it unknown."""
    clock = StillClock()
    async with (
        await open_postgres(dsn, clock=clock, randomness=CountedRandomness(1)) as store,
        await open_postgres(dsn, clock=clock, randomness=CountedRandomness(2)) as other,
    ):
        before = await store.submit([decision(1)])
        session = store._driver._connection.get_server_pid()
        admin = await connect(dsn)
        await admin.execute("SELECT pg_terminate_backend($1)", session)
        await admin.close()
        with pytest.raises(StoreUnavailableError):
            await store.submit([decision(2)])
        assert await eventually(lambda: store.health().ready)
        after = await store.submit([decision(3)])
        assert after.writer != before.writer, "it is another writer now"
        assert await other.mark_unknown() == 0, "decision 1 is still on its way"
        await store.submit([event(1, decision(1).entry_id), event(3, decision(3).entry_id)])
        assert len(await other.events(EVERY_TENANT, decision(1).entry_id)) == 1
    async with await open_postgres(dsn, clock=clock, randomness=CountedRandomness(3)) as third:
        assert await third.mark_unknown() == 0
