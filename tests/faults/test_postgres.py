"""PostgreSQL gone and back: refused while it is away, nothing acknowledged lost, recovered unaided."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import asyncpg
import pytest

from gateway.kernel.errors import StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT
from gateway.store.open import open_store
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision
from tests.kit.figures import note
from tests.kit.postgres import PostgresServer, postgres_server


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, to crash."""
    with postgres_server() as running:
        yield running


async def test_a_crash_of_the_server_loses_nothing(server: PostgresServer) -> None:
    """SIGQUIT under load: waiters are told, every receipt is kept, and a new chain begins when it is back."""
    store = await open_store(server.url(), clock=SystemClock(), randomness=SystemRandomness())
    acknowledged: list[int] = []
    refused: list[float] = []

    async def work(worker: int) -> None:
        for number in range(worker, 100_000, 8):
            try:
                await store.submit([decision(number)])
            except StoreUnavailableError:
                refused.append(time.monotonic())
                return
            acknowledged.append(number)

    workers = asyncio.gather(*map(work, range(8)))
    await asyncio.sleep(0.3)
    before = store.health()
    crashed_s = time.monotonic()
    await asyncio.to_thread(server.stop, signal.SIGQUIT)
    await asyncio.wait_for(workers, 5)
    assert before.ready
    assert max(refused) - crashed_s < 2.0
    assert not store.health().ready
    assert not store.health().fatal
    with pytest.raises(StoreUnavailableError):
        await store.decision(EVERY_TENANT, "x")
    await asyncio.to_thread(server.start)
    back_s = time.monotonic()
    while not store.health().ready and time.monotonic() - back_s < 5:
        await asyncio.sleep(0.01)
    assert (await store.submit([decision(200_000)])).first_seq == 0
    for number in acknowledged:
        assert await store.decision(EVERY_TENANT, decision(number).entry_id) is not None
    note(f"PostgreSQL crashed under load: {len(acknowledged)} acknowledged, 0 lost, ready again by itself")
    assert len(acknowledged) > 50
    await store.close()


async def test_a_role_with_few_rights_is_enough(server: PostgresServer) -> None:
    """A role that may insert and read keeps records, and may neither change them nor drop the triggers."""
    owner = await open_store(server.url(), clock=SystemClock(), randomness=SystemRandomness())
    await owner.close()
    admin = await asyncpg.connect(server.url())
    await admin.execute("""
        CREATE ROLE gateway LOGIN;
        GRANT USAGE ON SCHEMA lumyn TO gateway;
        GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA lumyn TO gateway;
        GRANT UPDATE ON lumyn.settled TO gateway;
    """)
    await admin.close()
    url = server.url().replace("lumyn@", "gateway@")
    store = await open_store(url, clock=SystemClock(), randomness=SystemRandomness())
    assert (await store.submit([decision(1, request_key="k")])).first_seq == 0
    await store.close()
    role = await asyncpg.connect(url)
    change, drop = (
        "UPDATE lumyn.entries SET verdict = 'X'",
        "DROP TRIGGER entries_never_change ON lumyn.entries",
    )
    for statement in (change, drop):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await role.execute(statement)
    await role.close()
