"""Over real sockets: the unmodified openai client, vLLM's errors, the picker's headers."""

import asyncio
from dataclasses import replace

import openai
import pytest
from openai.types.responses import ResponseCompletedEvent

from controller.llmd.sim.config import RouterConfig
from tests.kit.simulator import CONFIG, HI, TOOLS, gauge, posted, serving


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
