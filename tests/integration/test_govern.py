"""The controller in the request path: a slow simulated llm-d, a burst, and what the records say of it."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from controller.core import replay
from controller.governor import stored_case
from controller.llmd.sim.config import preset
from controller.llmd.sim.server import EmbeddedSim
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import InvalidConfigError
from gateway.kernel.types import JSONObject
from gateway.records.types import ControlEntry, Entry
from tests.kit.gateways import RunningGateway, running_gateway
from tests.kit.rawpeer import Wire, raw_server

LADDER = ["llama-70b", "llama-8b", "llama-1b"]
MODELS = [
    {
        "name": model.name,
        "backend": "sim",
        "price_in": model.price_in,
        "price_out": model.price_out,
        "quality": model.quality,
    }
    for model in preset("llmd-demo-small").models
]
CHAT: JSONObject = {
    "name": "chat",
    "service_class": "standard",
    "latency": {"ttft_ms": 1500, "e2e_ms": 6000},
    "quality": {"models": LADDER, "floor": "llama-1b"},
    "on_pressure": ["downgrade", "cap_tokens", "shed"],
}
PROMPT = "a word " * 1000
"""About 1750 tokens: half a second of prefill for the slowed 70B."""


@contextlib.asynccontextmanager
async def governed(directory: Path, **settings: Any) -> AsyncIterator[RunningGateway]:
    """A gateway with one intent before the slowed simulator."""
    sim = EmbeddedSim(preset("llmd-demo-small"))
    url = await sim.start()
    try:
        config = {
            "backends": [{"name": "sim", "url": f"{url}/v1", "dialect": "llm-d>=0.11"}],
            "models": MODELS,
            "intents": [CHAT],
            **settings,
        }
        async with running_gateway(directory, **config) as one:
            yield one
    finally:
        await sim.stop()


async def ask(session: aiohttp.ClientSession, text: str = PROMPT, **extra: Any) -> tuple[int, dict[str, str]]:
    """Ask for a short streamed answer; return status and headers."""
    body = {
        "model": "llama-70b",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 12,
        "stream": True,
        **extra,
    }
    async with session.post(
        "/v1/chat/completions",
        data=io.BytesIO(orjson.dumps(body)),
        headers={"content-type": "application/json"},
    ) as answer:
        await answer.read()
        return answer.status, dict(answer.headers)


async def burst(one: RunningGateway, count: int, gap_s: float) -> list[tuple[int, dict[str, str]]]:
    """Ask `count` times, `gap_s` apart, and wait for all answers."""
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{one.port}", connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        asking = []
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                asking.append(group.create_task(ask(session)))
                await asyncio.sleep(gap_s)
        return [task.result() for task in asking]


async def set_mode(one: RunningGateway, mode: str) -> tuple[int, Any]:
    """Set the controller's mode as an operator does."""
    async with (
        aiohttp.ClientSession(one.admin_url) as session,
        session.put("/admin/control/mode", data=orjson.dumps({"mode": mode})) as answer,
    ):
        return answer.status, orjson.loads(await answer.read())


async def read(one: RunningGateway, path: str) -> Any:
    """Read an admin page."""
    async with aiohttp.ClientSession(one.admin_url) as session, session.get(path) as answer:
        assert answer.status == 200
        return orjson.loads(await answer.read())


async def test_a_burst_is_spread_over_the_ladder_and_the_records_say_why(tmp_path: Path) -> None:
    """Under a burst requests are switched or capped, in words, and every pressed plan replays bit for bit."""
    async with governed(tmp_path) as one:
        answers = await burst(one, 60, 0.03)
        records = await one.decisions(limit=200)
        outcomes = await one.outcomes(count=60, within_s=10)
        print([(s, h.get("x-lumyn-model"), h.get("x-lumyn-actions")) for s, h in answers])
        print(records[0]["extensions"]["control"])
        print(outcomes[0])
        print(await read(one, "/admin/intents"))
        print(await read(one, "/admin/control"))
