"""Over real sockets: the unmodified openai client, vLLM's errors, the picker's headers, faults."""

import asyncio
import random
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import aiohttp
import openai
import pytest
from openai.types.responses import ResponseCompletedEvent

from controller.llmd.sim.config import ModelConfig, RouterConfig, SimConfig
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


async def test_the_openai_client_chats():
    """Whole and streamed say the same; usage agrees; ids, dates and the model's name are there."""
    async with serving() as (_, client, _http):
        whole = await client.chat.completions.create(model="big", messages=HI, max_tokens=20)
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        assert (whole.model, whole.created, whole.object) == ("big", 1_700_000_000, "chat.completion")
        text, usage, finish = "", None, None
        stream = await client.chat.completions.create(
            model="big", messages=HI, max_tokens=20, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        assert text == whole.choices[0].message.content
        assert finish == whole.choices[0].finish_reason
        assert usage.completion_tokens == whole.usage.completion_tokens


async def test_the_openai_client_calls_tools():
    """Arguments arrive whole and in fragments, equal and valid; a result is answered in text."""
    async with serving() as (_, client, _http):
        asked = {"model": "big", "messages": HI, "tools": TOOLS, "tool_choice": "required"}
        whole = await client.chat.completions.create(**asked)
        [call] = whole.choices[0].message.tool_calls
        assert whole.choices[0].finish_reason == "tool_calls"
        async with client.chat.completions.stream(**asked) as stream:
            streamed = (await stream.get_final_completion()).choices[0].message.tool_calls[0]
        assert (streamed.id, streamed.function.arguments) == (call.id, call.function.arguments)
        messages = [
            *HI,
            {"role": "assistant", "tool_calls": [call.model_dump()]},
            {"role": "tool", "tool_call_id": call.id, "content": "done"},
        ]
        after = await client.chat.completions.create(
            model="big", messages=messages, tools=TOOLS, max_tokens=5
        )
        assert after.choices[0].message.content


async def test_the_openai_client_uses_every_other_endpoint():
    """Completions, responses whole and streamed, embeddings, models."""
    async with serving() as (_, client, _http):
        completion = await client.completions.create(
            model="small", prompt=["a", "b"], n=2, max_tokens=3, echo=True
        )
        assert [choice.text[0] for choice in completion.choices] == ["a", "a", "b", "b"]
        response = await client.responses.create(model="small", input="hi", max_output_tokens=400)
        events = [
            e
            async for e in await client.responses.create(
                model="small", input="hi", max_output_tokens=400, stream=True
            )
        ]
        assert isinstance(events[-1], ResponseCompletedEvent)
        assert events[-1].response.output_text == response.output_text
        vectors = await client.embeddings.create(model="small", input=["x", "y"], dimensions=8)
        assert [len(each.embedding) for each in vectors.data] == [8, 8]
        again = await client.embeddings.create(model="big", input="x", dimensions=8, encoding_format="float")
        assert again.data[0].embedding == pytest.approx(vectors.data[0].embedding, abs=1e-6)
        assert [model.id async for model in client.models.list()] == ["big", "big-alias", "small"]
        assert (await client.models.retrieve("big-alias")).id == "big-alias"


async def test_errors_have_the_shapes_of_the_real_ones():
    """400, 404 and 405 as vLLM's; the openai client raises its own types for them."""
    async with serving() as (_, client, http):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="nope", messages=HI)
        with pytest.raises(openai.BadRequestError, match="maximum context length is 4096") as caught:
            await client.chat.completions.create(model="big", messages=HI, max_tokens=5000)
        assert caught.value.body["code"] == 400
        with pytest.raises(openai.BadRequestError, match="logprobs"):
            await client.chat.completions.create(model="big", messages=HI, logprobs=True)
        for method, path, status in (("GET", "/v1/chat/completions", 405), ("POST", "/v1/nothing", 404)):
            answer = await http.request(method, path)
            assert (answer.status, (await answer.json())["error"]["code"]) == (status, status)
        assert await posted(http, "/v1/chat/completions", data=b"{") == 400


async def test_x_return_error_fails_as_asked():
    """The status asked for, or 400 for a value that is none."""
    async with serving() as (_, client, _http):
        for asked, status in (("503", 503), ("429", 429), ("200", 400), ("abc", 400)):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(
                    model="big", messages=HI, extra_headers={"X-Return-Error": asked}
                )
            assert caught.value.status_code == status


async def test_identity_headers_come_on_every_answer():
    """The request id is echoed or made up, the pod is named, on errors and streams too."""
    async with serving(replace(CONFIG, pod="pod-1", namespace="ns")) as (base, _, http):
        body = {"model": "big", "messages": HI, "max_tokens": 2}
        for data in (body, body | {"stream": True}, body | {"model": "nope"}):
            answer = await http.post("/v1/chat/completions", json=data, headers={"X-Request-Id": "abc"})
            assert answer.headers["X-Request-Id"] == "abc"
            assert (answer.headers["x-inference-pod"], answer.headers["x-inference-namespace"]) == (
                "pod-1",
                "ns",
            )
            assert base.endswith(answer.headers["x-inference-port"])
            await answer.read()
        made = [(await http.get("/health")).headers["X-Request-Id"] for _ in range(2)]
        assert len(set(made)) == 2


async def test_flow_control_answers_with_its_headers():
    """Dispatched requests carry their queue time; an expired one is a 429 with the reason."""
    router = RouterConfig(saturation="concurrency", concurrency_threshold=1)
    async with serving(replace(CONFIG, router=router, time_scale=5.0)) as (_, _, http):
        body = {"model": "big", "messages": HI, "max_tokens": 2000, "ignore_eos": True, "stream": True}
        first = await http.post("/v1/chat/completions", json=body)
        assert first.headers["x-llm-d-flow-queue-duration-ms"] == "0"
        headers = {"x-llm-d-inference-ttl": "20ms", "x-llm-d-inference-objective": "critical"}
        asked_at = asyncio.get_running_loop().time()
        expired = await http.post("/v1/chat/completions", json=body, headers=headers)
        assert asyncio.get_running_loop().time() - asked_at > 0.019  # the client's seconds, not the engine's
        assert expired.status == 429
        assert expired.headers["x-llm-d-request-dropped-reason"] == "rejected-ttl-expired"
        assert (await expired.json())["error"]["type"] == "rate_limit_error"
        first.close()
        after = await http.post("/v1/chat/completions", json=body | {"max_tokens": 2})
        assert after.status == 200
        await after.read()


@pytest.mark.parametrize(("version", "reason"), [("0.10", "rejected-saturated"), ("gaie", None)])
async def test_older_pickers_answer_in_plain_text(version, reason):
    """0.10 sends the reason header and text; the one before sends text only, and no queue time."""
    router = RouterConfig(
        version=version, saturation="concurrency", concurrency_threshold=1, queue_requests_max=1
    )
    async with serving(replace(CONFIG, router=router)) as (_, _, http):
        body = {"model": "big", "messages": HI, "max_tokens": 3000, "ignore_eos": True, "stream": True}
        first = await http.post("/v1/chat/completions", json=body)
        assert "x-llm-d-flow-queue-duration-ms" not in first.headers
        second = asyncio.get_running_loop().create_task(http.post("/v1/chat/completions", json=body))
        while not await gauge(http, "llm_d_epp_flow_control_queue_size"):
            await asyncio.sleep(0.005)
        refused = await http.post("/v1/chat/completions", json=body)
        assert (refused.status, refused.content_type) == (429, "text/plain")
        assert await refused.text()
        assert refused.headers.get("x-llm-d-request-dropped-reason") == reason
        second.cancel()
        first.close()


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


async def test_an_evicted_stream_says_so_and_ends_without_its_mark():
    """The status is long sent: an error event, and no [DONE]."""
    router = RouterConfig(saturation="concurrency", concurrency_threshold=1, eviction=True)
    async with serving(replace(CONFIG, router=router, time_scale=2.0)) as (_, _, http):
        body = {"model": "big", "messages": HI, "max_tokens": 3000, "ignore_eos": True, "stream": True}
        headers = {"x-llm-d-inference-objective": "background"}
        victim = await http.post("/v1/chat/completions", json=body, headers=headers)
        await victim.content.readany()
        urgent = await http.post(
            "/v1/chat/completions",
            json=body | {"max_tokens": 2},
            headers={"x-gateway-inference-objective": "critical"},
        )
        assert urgent.status == 200
        await urgent.read()
        text = await victim.text()
        assert '"message":"request evicted"' in text
        assert "[DONE]" not in text


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
