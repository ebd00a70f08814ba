"""A simulated llm-d on a free port, and questions to ask it."""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import openai

from controller.llmd.sim.config import ModelConfig, SimConfig
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.server import EmbeddedSim

ENGINE = replace(HARDWARE["8b-h100"], seqs_max=8, batched_tokens_max=2048, context_max=4096)
SMALL = replace(HARDWARE["1b-h100"], context_max=4096)
CONFIG = SimConfig(
    models=(
        ModelConfig(name="big", engine=ENGINE, aliases=("big-alias",)),
        ModelConfig(name="small", engine=SMALL),
    ),
    time_scale=20.0,
)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "refund",
            "parameters": {
                "type": "object",
                "properties": {"order": {"type": "string"}, "cents": {"type": "integer", "minimum": 1}},
                "required": ["order", "cents"],
            },
        },
    }
]
HI = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def serving(config=CONFIG):
    """Give (base URL, openai client, http session) of a simulator on a free port."""
    sim = EmbeddedSim(config, lambda: 1_700_000_000.0)
    base = await sim.start()
    client = openai.AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
    try:
        async with aiohttp.ClientSession(base) as http:
            yield base, client, http
    finally:
        await client.close()
        await sim.stop()


async def gauge(http, name):
    """Return the sum of a metric over its series."""
    page = await (await http.get("/metrics")).text()
    found = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    return sum(float(value) for value in found)


async def status(http, path):
    """Return the status of a GET."""
    async with http.get(path) as answer:
        return answer.status


async def posted(http, path, **body):
    """Return the status of a POST."""
    async with http.post(path, **body) as answer:
        return answer.status


async def until_idle(http):
    """Wait until nothing runs or waits; the test's own time limit is the bound."""
    while await gauge(http, "vllm:num_requests_running") or await gauge(http, "vllm:num_requests_waiting"):
        await asyncio.sleep(0.01)
