"""A whole gateway inside the test's own loop, on free ports, with a fresh SQLite store.

    async def test_something(tmp_path: Path) -> None:
        async with raw_server(script) as backend, running_gateway(tmp_path, backend_url=backend.url) as one:
            async with raw_client(one.port) as client:
                ...
            [outcome] = await one.outcomes()

The fixture `start_gateway` of tests/conftest.py does the same and closes at the end of the test.

Settings are sections of the configuration as in `config.example.yaml`, merged over `DEFAULTS`:
`running_gateway(tmp_path, limits={"idle_s": 0.2}, keys=[...])`. Without `backend_url` and `backends`
the embedded simulator answers; with `backend_url` one backend `raw` serves `MODEL`.
Leaving the context replays every record that the test made, byte for byte. It closes the gateway, and
is itself bounded: a gateway that does not close is a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson

from gateway.app import Gateway
from gateway.cli.rederive import rederive
from gateway.config import Config
from gateway.engine.replay import recorded_advice, replay
from gateway.kernel.types import EVERY_TENANT, JSONObject
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.store.port import DecisionFilter, Store

MODEL: Final = "test-model"
"""The model that the backend `raw` serves."""
CLOSE_S: Final = 10.0

DEFAULTS: Final[JSONObject] = {
    "listen": {"host": "127.0.0.1", "port": 0, "admin_host": "127.0.0.1", "admin_port": 0},
    "limits": {"drain_s": 0.5, "first_byte_s": 5, "idle_s": 5, "connect_s": 2},
}


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that listens. `gateway` is the object itself, for what no port shows."""

    gateway: Gateway
    port: int
    admin_port: int
    database: Path

    @property
    def url(self) -> str:
        """The OpenAI base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def admin_url(self) -> str:
        """The origin of the admin listener."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def store(self) -> Store:
        """The store behind it."""
        return self.gateway._store

    async def decisions(self, *, limit: int = 100) -> list[JSONObject]:
        """Return the records, newest first."""
        page = await self.store.decisions(EVERY_TENANT, DecisionFilter(), limit=limit, cursor=None)
        return [orjson.loads(entry.body) for entry in page.decisions]

    async def outcomes_of(self, decision_id: str) -> list[JSONObject]:
        """Return the data of the outcome events of one decision, oldest first."""
        events = await self.store.events(EVERY_TENANT, decision_id)
        return [orjson.loads(event.body)["data"] for event in events if event.event_type == "outcome"]

    async def outcomes(self, *, count: int = 1, within_s: float = 2.0) -> list[JSONObject]:
        """Wait until the `count` newest decisions have an outcome; return their data, newest first.

        A decision with two outcomes is a fault. Fewer decisions or outcomes in time: AssertionError.
        """
        found: list[list[JSONObject]] = []
        async with asyncio.timeout(within_s + 5):
            deadline = asyncio.get_running_loop().time() + within_s
            while True:
                newest = await self.decisions(limit=count)
                found = [await self.outcomes_of(record["decision_id"]) for record in newest]
                if len(found) == count and all(found):
                    break
                assert asyncio.get_running_loop().time() < deadline, f"outcomes so far: {found}"
                await asyncio.sleep(0.005)
        assert all(len(of_one) == 1 for of_one in found), f"one fate each: {found}"
        return [of_one[0] for of_one in found]


StartGateway: TypeAlias = Callable[..., Awaitable[RunningGateway]]
"""What the fixture `start_gateway` gives: takes the keywords of `running_gateway`."""


@contextlib.asynccontextmanager
async def running_gateway(
    directory: Path, *, backend_url: str | None = None, **settings: Any
) -> AsyncIterator[RunningGateway]:
    """Start a gateway with its database in `directory`, and close it at the end."""
    database = directory / "lumyn.db"
    config: JSONObject = {
        name: {**part} for name, part in {**DEFAULTS, "storage": {"url": f"sqlite:{database}"}}.items()
    }
    if backend_url is not None:
        config["backends"] = [{"name": "raw", "url": backend_url}]
        config["models"] = [{"name": MODEL, "backend": "raw"}]
    for name, part in settings.items():
        config[name] = {**config.get(name, {}), **part} if isinstance(part, dict) else part
    gateway = await Gateway.open(Config.model_validate(config))
    try:
        ports = await gateway.start()
        one = RunningGateway(gateway, ports.port, ports.admin_port, database)
        yield one
        await replay_every_record(one.store)
        await replay_control(one)
    finally:
        async with asyncio.timeout(CLOSE_S):
            await gateway.close()


async def replay_every_record(store: Store) -> None:
    """Decide every stored decision again; each must give the bytes that were stored (reliability B4 36)."""
    if not store.health().ready:
        return
    policies: dict[str, CompiledPolicy] = {}
    cursor: str | None = None
    while True:
        page = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=500, cursor=cursor)
        for kept in page.decisions:
            if kept.policy_hash not in policies:
                policy = await store.policy(kept.policy_hash)
                assert policy is not None, "a policy that decided is not kept"
                policies[kept.policy_hash] = compile_policy(policy.body)
            record = orjson.loads(kept.body)
            again = replay(record, policies[kept.policy_hash], recorded_advice(record))
            assert again.identical, again.differences
            assert again.decision.body == kept.body
        cursor = page.next_cursor
        if cursor is None:
            return


async def replay_control(one: RunningGateway) -> None:
    """Make every control decision of the ledger again, where a controller stood in the way."""
    if one.gateway._governor is None or not one.store.health().ready:
        return
    made = await rederive(one.store, None, None, lambda _: None)
    assert (made.faults, made.unheld) == ([], 0)


async def eventually(condition: Callable[[], object], *, within_s: float = 2.0) -> bool:
    """Wait until `condition` holds; tell whether it did within `within_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(0.002)
    return True


def open_descriptors() -> int:
    """Count the descriptors that this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def other_tasks() -> set[asyncio.Task[Any]]:
    """Return the tasks of this loop besides the one that asks."""
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


def chat_body(*, stream: bool = False, content: str = "hello", **extra: Any) -> bytes:
    """Return the body of a chat request that the gateway accepts."""
    messages = [{"role": "user", "content": content}]
    return orjson.dumps(
        {"model": MODEL, "messages": messages, **({"stream": True} if stream else {}), **extra}
    )
