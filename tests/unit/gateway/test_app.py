"""The composition root: opened whole or not at all, closed in order, and honest about its state."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from gateway import app
from gateway.app import Gateway, Ports, serve
from gateway.config import Config
from gateway.governing import control_config
from gateway.kernel.errors import InvalidConfigError, SetupError, StoreSetupError, StoreUnavailableError
from gateway.kernel.types import EVERY_TENANT, Mode
from gateway.policy.builtin import SUPPORT, built_in
from gateway.store.port import DecisionFilter, StoreHealth
from gateway.store.sqlite import open_sqlite
from gateway.system import SystemClock, SystemRandomness
from gateway.telemetry.log import LOG
from tests.kit.entries import decision
from tests.kit.gateways import running_gateway


@pytest.fixture(autouse=True)
def same_log():
    """Leave the log as it was found: `serve` makes it its own."""
    kept = LOG.handlers[:], LOG.level, LOG.propagate
    yield
    LOG.handlers[:], LOG.level, LOG.propagate = kept


def config(tmp_path: Path, **parts: Any) -> Config:
    """A configuration on free ports."""
    value: dict[str, Any] = {
        "listen": {"port": 0, "admin_port": 0},
        "storage": {"url": f"sqlite:{tmp_path}/lumyn.db"},
        "limits": {"drain_s": 0.5},
    }
    return Config.model_validate(value | parts)


async def test_what_a_dead_process_left_open_is_marked_before_anything_listens(tmp_path: Path) -> None:
    """A decision without an outcome is `unknown` by the time the gateway is open."""
    store = await open_sqlite(tmp_path / "lumyn.db", clock=SystemClock(), randomness=SystemRandomness())
    await store.submit((decision(1),))
    await store.close()
    gateway = await Gateway.open(config(tmp_path))
    try:
        [event] = await gateway._store.events(EVERY_TENANT, decision(1).entry_id)
        assert orjson.loads(event.body)["data"]["fate"] == "unknown"
    finally:
        await gateway.close()


def test_the_controller_is_told_what_the_operator_knows_of_a_model(tmp_path: Path) -> None:
    """Prices, quality, context and batch slots of a model reach the controller's catalogue."""
    known = {"price_in": 0.6, "price_out": 0.8, "quality": 0.9, "context": 8192, "in_flight_max": 32}
    parts: dict[str, Any] = {
        "backends": [{"name": "pool", "url": "http://127.0.0.1:1/v1"}],
        "models": [{"name": "m", "backend": "pool", **known}],
        "intents": [{"name": "chat", "quality": {"models": ["m"]}}],
    }
    made = control_config(config(tmp_path, **parts))
    assert made is not None
    model = made.catalogue["m"]
    told = (model.usd_per_mtok_in, model.usd_per_mtok_out, model.quality, model.context_tokens)
    assert (*told, model.in_flight_max) == tuple(known.values())


async def test_the_policies_are_kept(tmp_path: Path) -> None:
    """The text of whatever may decide is in the store, so that records can be replayed; twice is once."""
    for _ in range(2):
        gateway = await Gateway.open(config(tmp_path))
        main = gateway._live.snapshot.policies.main
        kept = await gateway._store.policy(main.policy_hash)
        assert kept is not None
        assert kept.body == main.text
        await gateway.close()


async def test_what_cannot_be_opened_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that is missing opens no store; a failure after the store is open closes it again."""
    with pytest.raises(InvalidConfigError):
        await Gateway.open(config(tmp_path, policy={"path": "none.yml"}))
    assert not (tmp_path / "lumyn.db").exists()
    closed = []
    real = app.open_store

    async def troubled(*args: Any, **kwargs: Any) -> Any:
        store = await real(*args, **kwargs)

        async def fail() -> int:
            raise StoreUnavailableError("gone")

        async def close(close: Any = store.close) -> None:
            closed.append(1)
            await close()

        store.mark_unknown, store.close = fail, close  # type: ignore[method-assign]
        return store

    monkeypatch.setattr(app, "open_store", troubled)
    with pytest.raises(StoreUnavailableError):
        await Gateway.open(config(tmp_path))
    assert closed == [1]
    monkeypatch.undo()
    with pytest.raises(StoreSetupError):
        await Gateway.open(config(tmp_path, storage={"url": "mysql:x"}))


async def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    """The address is named, and closing what did start works."""
    async with running_gateway(tmp_path) as one:
        other = tmp_path / "other"
        other.mkdir()
        gateway = await Gateway.open(config(other, listen={"port": one.port, "admin_port": 0}))
        with pytest.raises(SetupError, match=f"cannot listen on 127.0.0.1:{one.port}"):
            await gateway.start()
        await gateway.close()


async def test_closing_what_never_started(tmp_path: Path) -> None:
    """A gateway that was only opened closes its store."""
    gateway = await Gateway.open(config(tmp_path))
    await gateway.close()
    assert not gateway._store.health().ready


@pytest.mark.parametrize(
    ("policy", "mode", "allowed"),
    [
        ({}, Mode.ENFORCE, False),
        ({"mode": "advisory"}, Mode.ADVISORY, True),
        ({"mode": None}, None, False),
        ({"advisory_allowed": True}, Mode.ENFORCE, True),
    ],
)
async def test_the_mode_in_force(tmp_path: Path, policy: Any, mode: Mode | None, allowed: bool) -> None:
    """The configuration's mode, or the policy's own; advisory may be asked for where it is allowed."""
    gateway = await Gateway.open(config(tmp_path, policy=policy))
    engine = gateway._live.snapshot.engine
    await gateway.close()
    assert (engine.mode, engine.advisory_allowed) == (mode, allowed)


async def test_both_listeners_answer_what_is_theirs(tmp_path: Path) -> None:
    """Health on both; records and metrics on the admin one alone; an unknown path in the shape of its API."""
    async with running_gateway(tmp_path) as one, aiohttp.ClientSession() as session:

        async def get(port: int, path: str) -> tuple[int, bytes, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.read(), answer.headers["x-request-id"]

        for port in (one.port, one.admin_port):
            status, body, _ = await get(port, "/health/ready")
            assert status == 200
            assert orjson.loads(body)["policy_id"] == "lumyn-support"
        for path in ("/metrics", "/admin/decisions"):
            assert (await get(one.port, path))[0] == 404
            assert (await get(one.admin_port, path))[0] == 200
        assert (await get(one.admin_port, "/v1/models"))[0] == 404
        assert "error" in orjson.loads((await get(one.port, "/v1/nothing"))[1])
        assert set(orjson.loads((await get(one.port, "/nothing"))[1])) == {
            *("detail", "reason_code", "pointer", "request_id"),
        }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serving_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """`serve` says where it listens, serves, and closes everything at the signal."""
    ready: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(config(tmp_path), ready=ready.set_result))  # noqa: TID251 - awaited
    ports = await ready
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{ports.port}/v1/models") as answer,
    ):
        assert answer.status == 200
    os.kill(os.getpid(), number)
    await serving
    store = await open_sqlite(tmp_path / "lumyn.db", clock=SystemClock(), randomness=SystemRandomness())
    page = await store.decisions(EVERY_TENANT, DecisionFilter(), limit=10, cursor=None)
    assert len(page.decisions) == 1
    assert await store.dangling(limit=1) == ()
    await store.close()


async def test_sighup_reads_the_policies_anew(tmp_path: Path) -> None:
    """The process stays, decides under the new policy, and says in readiness which it is."""
    file = tmp_path / "policy.yml"
    text = built_in(SUPPORT)
    assert text is not None
    file.write_bytes(text)
    ready: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
    settings = config(tmp_path, policy={"path": str(file), "watch": False})
    serving = asyncio.create_task(serve(settings, ready=ready.set_result))  # noqa: TID251 - awaited
    ports = await ready

    async def shown() -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{ports.admin_port}/health/ready") as answer,
        ):
            return str((await answer.json())["policy_hash"])

    before = await shown()
    file.write_bytes(text.replace(b"policy_id: lumyn-support", b"policy_id: another"))
    os.kill(os.getpid(), signal.SIGHUP)
    async with asyncio.timeout(5):
        while await shown() == before:
            await asyncio.sleep(0.005)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving


async def test_a_store_that_failed_for_good_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that can never record again leaves with an error, and does not refuse for ever."""
    monkeypatch.setattr(app, "_FATAL_LOOK_S", 0.001)
    states = [StoreHealth(ready=True, reason="", queued=0, committed=0, last_commit_s=0.0)] * 2
    failed = StoreHealth(
        ready=False, reason="a flush failed", queued=0, committed=0, last_commit_s=0.0, fatal=True
    )
    monkeypatch.setattr(Gateway, "store_health", lambda _: states.pop() if states else failed)
    with pytest.raises(StoreUnavailableError, match="a flush failed"):
        await serve(config(tmp_path), ready=lambda _: None)
    assert states == []
