"""Over real sockets: Anthropic's API on the simulator."""

import orjson

from tests.kit.simulator import CONFIG, HI, gauge, serving
from tests.unit.controller.llmd.sim.test_anthropic_out import assembled

TOOL = {
    "name": "refund",
    "input_schema": {
        "type": "object",
        "properties": {"order": {"type": "string"}, "cents": {"type": "integer", "minimum": 1}},
        "required": ["order", "cents"],
    },
}
BODY = {"model": "big", "messages": HI, "max_tokens": 20}


async def posted(http, **changes):
    """Return (status, parsed body) of a message."""
    async with http.post("/v1/messages", json=BODY | changes) as answer:
        return answer.status, await answer.json()


async def streamed(http, **changes):
    """Return the parsed events of a streamed message."""
    async with http.post("/v1/messages", json=BODY | changes | {"stream": True}) as answer:
        assert answer.content_type == "text/event-stream"
        raw = await answer.read()
    return [orjson.loads(block.split(b"data: ")[1]) for block in raw.strip().split(b"\n\n")]


async def test_messages_whole_and_streamed_say_what_chat_says():
    """The same text as a chat completion of the same prompt; the ids differ."""
    async with serving() as (_, client, http):
        status, whole = await posted(http)
        assert (status, whole["model"]) == (200, "big")
        chat = await client.chat.completions.create(model="big", messages=HI, max_tokens=20)
        assert whole["content"] == [{"type": "text", "text": chat.choices[0].message.content}]
        assert whole["usage"]["input_tokens"] == chat.usage.prompt_tokens
        again = assembled(await streamed(http))
        assert again["id"].startswith("msg_")
        assert {**again, "id": ""} == {**whole, "id": ""}


async def test_tools_are_used_and_their_results_answered():
    """Required by any, streamed in fragments; after a tool_result comes text."""
    asked = {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 200}
    async with serving() as (_, _client, http):
        _, whole = await posted(http, **asked)
        [use] = whole["content"]
        assert (whole["stop_reason"], use["type"], use["name"]) == ("tool_use", "tool_use", "refund")
        assert set(use["input"]) >= {"order", "cents"}
        assert assembled(await streamed(http, **asked))["content"] == [use]
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": "done"}
        turns = [*HI, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
        _, after = await posted(http, messages=turns, tools=[TOOL])
        assert after["content"][0]["type"] == "text"


async def test_errors_have_anthropics_shape():
    """Wrong fields, an unknown model, a context too short, a failure asked for, a wrong method."""
    async with serving() as (_, _client, http):
        for changes, status, kind in (
            ({"max_tokens": None}, 400, "invalid_request_error"),
            ({"model": "nope"}, 404, "not_found_error"),
            ({"max_tokens": 5000}, 400, "invalid_request_error"),
        ):
            code, body = await posted(http, **changes)
            assert (code, body["type"], body["error"]["type"]) == (status, "error", kind)
        async with http.post("/v1/messages", json=BODY, headers={"X-Return-Error": "429"}) as answer:
            assert (answer.status, (await answer.json())["error"]["type"]) == (429, "rate_limit_error")
        async with http.get("/v1/messages") as answer:
            assert (answer.status, (await answer.json())["type"]) == (405, "error")
        assert await gauge(http, "vllm:num_requests_running") == 0


async def test_tokens_are_counted_as_prompts_are():
    """count_tokens needs no max_tokens, and agrees with the usage."""
    async with serving(CONFIG) as (_, _client, http):
        _, whole = await posted(http)
        async with http.post("/v1/messages/count_tokens", json={"model": "big", "messages": HI}) as answer:
            assert await answer.json() == {"input_tokens": whole["usage"]["input_tokens"]}
