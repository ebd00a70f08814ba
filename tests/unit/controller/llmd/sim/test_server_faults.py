"""Over real sockets: clients that leave, faults that are injected, storms, restarts."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import aiohttp
import openai
import pytest

from controller.llmd.sim.config import RouterConfig
from controller.llmd.sim.server import EmbeddedSim
from tests.kit.simulator import CONFIG, HI, TOOLS, gauge, posted, serving, status, until_idle


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_its_place_at_once(stream):
    """Streamed or not, running or queued: the gauges fall to zero long before the answers would end."""
    async with serving(replace(CONFIG, time_scale=1.0)) as (_, _, http):
        body = {"model": "big", "messages": HI, "max_tokens": 4000, "ignore_eos": True, "stream": stream}
        asks = [
            asyncio.get_running_loop().create_task(http.post("/v1/chat/completions", json=body))
            for _ in range(12)
        ]
        while await gauge(http, "vllm:num_requests_running") < 8:
            await asyncio.sleep(0.01)
        for ask in asks:
            if ask.done():
                ask.result().close()
            ask.cancel()
        async with asyncio.timeout(5):
            await until_idle(http)
        assert await gauge(http, "vllm:kv_cache_usage_perc") == 0
        assert await gauge(http, "llm_d_epp_inflight_requests") == 0


async def test_faults_are_changed_at_run_time():
    """Errors by type, a hang after the first token, refused connections, no replicas, a metrics blackout."""
    async with serving() as (_, client, http):

        async def change(**faults):
            answer = await http.post("/admin/config", json=faults)
            assert answer.status == 200
            return await answer.json()

        async def ask(**changes):
            return await client.chat.completions.create(model="big", messages=HI, max_tokens=5, **changes)

        await change(errors={"rate_limit": 1.0})
        with pytest.raises(openai.RateLimitError):
            await ask()
        await change(errors={}, refuse=True)
        with pytest.raises(openai.APIConnectionError):
            await ask()
        await change(refuse=False, replicas_down=1)
        with pytest.raises(openai.InternalServerError) as caught:
            await ask()
        assert caught.value.response.headers["x-llm-d-request-dropped-reason"] == "rejected-no-endpoints"
        await change(replicas_down=0, metrics_blackout=True)
        assert await status(http, "/metrics") == 503
        shown = await change(metrics_blackout=False, hang_rate=1.0, model="big")
        assert (shown["faults"]["big"]["hang_rate"], shown["faults"]["small"]["hang_rate"]) == (1.0, 0.0)
        stream = await ask(stream=True)
        assert (await anext(stream)).choices
        assert (await anext(stream)).choices
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.2)
        await stream.close()
        assert await posted(http, "/admin/config", json={"slowdown": -1}) == 400
        assert (await (await http.get("/admin/config")).json())["faults"]["big"]["hang_rate"] == 1.0


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/chat/completions", '"message":"request evicted"'),
        ("/v1/messages", 'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error"'),
        ("/v1/responses", 'event: error\ndata: {"type":"error","sequence_number":'),
    ],
)
async def test_an_evicted_stream_says_so_and_ends_without_its_mark(path, told):
    """The status is long sent: an error event of the API's own shape, and no end mark."""
    router = RouterConfig(saturation="concurrency", concurrency_threshold=1, eviction=True)
    async with serving(replace(CONFIG, router=router, time_scale=2.0)) as (_, _, http):
        body = {"model": "big", "messages": HI, "max_tokens": 3000, "ignore_eos": True, "stream": True}
        headers = {"x-llm-d-inference-objective": "background"}
        asked = body | {"input": "hello", "max_output_tokens": 3000}
        victim = await http.post(path, json=asked, headers=headers)
        await victim.content.readany()
        urgent = await http.post(
            "/v1/chat/completions",
            json=body | {"max_tokens": 2},
            headers={"x-gateway-inference-objective": "critical"},
        )
        assert urgent.status == 200
        await urgent.read()
        text = await victim.text()
        assert told in text
        assert not any(mark in text for mark in ("[DONE]", "message_stop", "response.completed"))


async def test_it_can_be_started_again():
    """A stopped simulator starts afresh, and stopping twice is harmless."""
    sim = EmbeddedSim(CONFIG)
    for _ in range(2):
        base = await sim.start()
        async with aiohttp.ClientSession(base) as http:
            body = {"model": "small", "messages": HI, "max_tokens": 2}
            async with http.post("/v1/chat/completions", json=body) as answer:
                assert (await answer.json())["created"] == 0
        await sim.stop()
        await sim.stop()


async def test_health_ready_and_tokenize():
    """Ready only after the start-up time; tokens counted as prompts are."""
    async with serving(replace(CONFIG, startup_s=20.0)) as (_, client, http):
        assert await status(http, "/health") == 200
        assert await status(http, "/ready") == 503
        while await status(http, "/health/ready") != 200:
            await asyncio.sleep(0.02)
        answer = await (await http.post("/tokenize", json={"model": "big", "messages": HI})).json()
        usage = (await client.chat.completions.create(model="big", messages=HI, max_tokens=1)).usage
        assert answer["count"] == len(answer["tokens"]) == usage.prompt_tokens
        words = await (await http.post("/tokenize", json={"prompt": "a b", "return_token_strs": True})).json()
        assert words["token_strs"] == ["a", " b"]
        assert await posted(http, "/tokenize", json={"prompt": 5}) == 400


async def test_the_model_can_be_rewritten_by_header():
    """The picker's rewrite decides which pool answers; a version that does not know the name ignores it."""
    body = {"model": "big", "messages": HI, "max_tokens": 2}
    for version, expected in (("0.11", "small"), ("gaie", "big")):
        async with serving(replace(CONFIG, router=RouterConfig(version=version))) as (_, _, http):
            answer = await http.post(
                "/v1/chat/completions", json=body, headers={"x-llm-d-model-name-rewrite": "small"}
            )
            assert (await answer.json())["model"] == expected


async def test_a_storm_of_comers_and_goers_leaves_nothing_behind():
    """Streams, whole answers, tools, refusals and disconnects at any moment: afterwards no state is held."""
    router = RouterConfig(ttl_s=2.0, eviction=True)
    sim = EmbeddedSim(replace(CONFIG, router=router, time_scale=10.0))
    base = await sim.start()
    draw = random.Random(1)

    async def visit(http, index):
        await asyncio.sleep(draw.random())
        body = {"model": draw.choice(["big", "small", "nope"]), "messages": HI, "n": draw.choice([1, 1, 3])}
        body |= {"max_tokens": draw.choice([1, 50, 2000]), "stream": draw.random() < 0.5, "ignore_eos": True}
        if draw.random() < 0.3:
            body |= {"tools": TOOLS, "tool_choice": "required"}
        headers = {"x-llm-d-inference-objective": draw.choice(["critical", "batch", "none"])}
        patience = draw.choice([0.01, 0.1, 5.0])
        with suppress(TimeoutError, aiohttp.ClientError):
            async with (
                asyncio.timeout(patience),
                http.post("/v1/chat/completions", json=body, headers=headers) as answer,
            ):
                await answer.read()

    async with aiohttp.ClientSession(base) as http:
        await asyncio.gather(*(visit(http, index) for index in range(150)))
        async with asyncio.timeout(5):
            await until_idle(http)
    driver = sim.driver
    assert not driver._channels
    assert not driver._cluster._homes
    assert not driver._telemetry._open
    for pool in driver._cluster.pools.values():
        assert not pool._requests
        assert not pool._placed
        assert not pool.router._in_flight
        assert not pool.router._asks
        assert sum(pool.router.in_flight) == 0
    await sim.stop()


async def test_stopping_refuses_what_waits():
    """A queued request gets 503 rejected-shutting-down, not a dropped connection."""
    router = RouterConfig(saturation="concurrency", concurrency_threshold=1)
    sim = EmbeddedSim(replace(CONFIG, router=router, time_scale=1.0))
    base = await sim.start()
    async with aiohttp.ClientSession(base) as http:
        body = {"model": "big", "messages": HI, "max_tokens": 4000, "ignore_eos": True, "stream": True}
        first = await http.post("/v1/chat/completions", json=body)
        second = asyncio.get_running_loop().create_task(http.post("/v1/chat/completions", json=body))
        while not await gauge(http, "llm_d_epp_flow_control_queue_size"):
            await asyncio.sleep(0.005)
        await sim.stop()
        refused = await second
        assert (refused.status, refused.headers["x-llm-d-request-dropped-reason"]) == (
            503,
            "rejected-shutting-down",
        )
        first.close()
    await sim.stop()
