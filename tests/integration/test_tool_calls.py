"""Tool calls in answers, through a whole gateway, as the official clients meet them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.kit.gateways import RunningGateway
from tests.kit.toolgates import LARGE, MODEL, SMALL, Backend, gated, tool_records
from tests.kit.toolstreams import (
    Said,
    call,
    chat,
    chat_end,
    chunk,
    fragment,
    message,
    response,
    response_object,
    text,
)

HELLO: Any = [{"role": "user", "content": "hello"}]
Pair = tuple[RunningGateway, Backend]
PARALLEL = [text("Let me see. "), call("refund", SMALL[:9], SMALL[9:]), call("close_account", "{}")]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """A gateway with a shop's tools, and its backend."""
    async with gated(tmp_path) as made:
        yield made


@pytest.fixture
async def client(pair: Pair) -> AsyncIterator[AsyncOpenAI]:
    """The official client, unmodified."""
    async with AsyncOpenAI(base_url=pair[0].url, api_key="none", max_retries=0) as one:
        yield one


def chat_frames(*said: Said) -> list[bytes]:
    """A whole stream of chat completions."""
    return [*chat(said), *chat_end()]


def chat_body(*calls: tuple[str, str], content: str | None = None) -> Any:
    """A whole chat completion."""
    listed = [
        {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for at, (name, arguments) in enumerate(calls)
    ]
    said = {"role": "assistant", "content": content, "tool_calls": listed}
    choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
    base = {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL}
    return {
        **base,
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


async def read_into(stream: Any, chunks: list[Any]) -> None:
    """Keep what came before an error."""
    async for part in stream:
        chunks.append(part)  # noqa: PERF401 - what came before the error counts


async def test_a_streamed_answer_with_an_allowed_and_a_refused_call(pair: Pair, client: AsyncOpenAI) -> None:
    """The allowed call arrives whole, the other is explained in the text; both stand on record before."""
    one, backend = pair
    backend.says(chat_frames(*PARALLEL))
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    chunks = [part async for part in stream]
    said = "".join(part.choices[0].delta.content or "" for part in chunks if part.choices)
    calls = [entry for part in chunks if part.choices for entry in part.choices[0].delta.tool_calls or []]
    assert [entry.function.name for entry in calls if entry.function and entry.function.name] == ["refund"]
    assert "".join(entry.function.arguments or "" for entry in calls if entry.function) == SMALL
    assert said.startswith("Let me see. \n[Tool call `close_account` was not permitted")
    refund, closing = await tool_records(one)
    assert (refund["verdict"], closing["verdict"]) == ("TRUST", "ABSTAIN")
    assert closing["decision_id"] in said
    assert "TOOL_NOT_ALLOWED" in said
    await one.outcomes(count=3)
    refund, closing = await tool_records(one)
    assert refund["outcomes"] == [{"fate": "complete"}]
    assert closing["outcomes"] == [{"fate": "refused"}]


async def test_what_a_record_of_a_call_holds(pair: Pair, client: AsyncOpenAI) -> None:
    """Who asked, what exactly would be called, the mapped facts, and the request that it answers."""
    one, backend = pair
    backend.says_whole(chat_body(("refund", SMALL)))
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, extra_headers={"x-request-id": "req-7"}
    )
    [record] = await tool_records(one)
    request = record["request"]
    assert request["action"]["type"] == "shop.refund"
    assert request["action"]["intent"] == "call refund"
    assert request["action"]["target"] == {"system": "tool", "resource_type": "tool", "resource_id": "refund"}
    assert request["action"]["amount"] == {"value": 12.5, "currency": "USD"}
    assert request["evidence"] == {
        "order_id": "o-1",
        "model": MODEL,
        "decision_id": raw.headers["x-lumyn-decision-id"],
    }
    assert request["subject"] == {"id": "local", "type": "service"}
    assert request["trace"]["correlation_id"] == "req-7"
    assert request["extensions"]["tool_call"] == {
        "id": "c0",
        "kind": "function",
        "place": "/choices/0/message/tool_calls/0",
    }
    assert record["trace"]["correlation_id"] == "req-7"


async def test_the_stream_helper_of_the_client(pair: Pair, client: AsyncOpenAI) -> None:
    """The client's own accumulation works also where the first of two calls was taken out."""
    _, backend = pair
    backend.says(chat_frames(call("close_account", "{}"), call("refund", SMALL[:5], SMALL[5:])))
    async with client.chat.completions.stream(model=MODEL, messages=HELLO) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    [only] = final.choices[0].message.tool_calls or []
    assert (only.function.name, only.function.arguments) == ("refund", SMALL)
    assert final.choices[0].finish_reason == "tool_calls"


async def test_an_answer_that_is_not_streamed(pair: Pair, client: AsyncOpenAI) -> None:
    """Its calls are judged before anything of it goes; what was all allowed is the same bytes."""
    _, backend = pair
    body = orjson.dumps(chat_body(("refund", SMALL), ("look_up", '{"x": 1}')))
    backend.says_whole(body)
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=HELLO)
    assert raw.content == body
    backend.says_whole(chat_body(("close_account", "{}"), ("refund", SMALL), content="Well."))
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    [left] = answer.choices[0].message.tool_calls or []
    assert left.function.arguments == SMALL  # type: ignore[union-attr]
    assert (answer.choices[0].message.content or "").startswith("Well.\n\n[Tool call `close_account`")
    backend.says_whole(chat_body(("close_account", "{}")))
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


async def test_what_is_missing_is_asked_for(pair: Pair, client: AsyncOpenAI) -> None:
    """A QUERY names the field, so that the model can call again with it."""
    one, backend = pair
    backend.says_whole(chat_body(("refund", '{"amount": 5}')))
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    content = answer.choices[0].message.content or ""
    assert "order_id" in content
    assert "Call again" in content
    [record] = await tool_records(one)
    assert record["verdict"] == "QUERY"


@pytest.mark.parametrize(
    ("name", "arguments", "code", "words"),
    [
        ("refund", '{"order": "o"', "TOOL_ARGUMENTS_INVALID", "not valid JSON"),
        ("refund", '{"order": "o", "order": "p", "amount": 1}', "TOOL_ARGUMENTS_INVALID", "a key twice"),
        ("refund", '{"order": "o", "amount": "5"}', "TOOL_ARGUMENTS_INVALID", "amount"),
        ("refund", '{"order": "o", "amount": 5.000000000000000001}', "TOOL_ARGUMENTS_INVALID", "amount"),
        ("refund", "[1]", "TOOL_ARGUMENTS_INVALID", "no JSON object"),
        ("format_disk", "{}", "TOOL_UNKNOWN", "no such tool"),
        ("", "{}", "TOOL_ARGUMENTS_INVALID", "no name"),
    ],
)
async def test_bad_calls_are_refused_and_recorded(
    pair: Pair, client: AsyncOpenAI, name: str, arguments: str, code: str, words: str
) -> None:
    """What cannot be judged is refused by the gate's own policy, on record, and the model is told why."""
    one, backend = pair
    backend.says_whole(chat_body((name, arguments)))
    answer = await client.chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.tool_calls is None
    content = answer.choices[0].message.content or ""
    assert words in content
    assert code in content
    [record] = await tool_records(one)
    assert (record["verdict"], record["reason_codes"]) == ("ABSTAIN", [code])
    assert record["policy"]["policy_id"] == "lumyn-gate"
    assert record["outcomes"] == [{"fate": "refused"}]


async def test_endless_arguments(tmp_path: Path) -> None:
    """Arguments that do not end are refused at the bound, and the rest of the answer goes on."""
    async with gated(tmp_path, tool_calls={"held_bytes_max": 2000}) as (one, backend):
        endless = [chunk(fragment(0, "x" * 100)) for _ in range(40)]
        backend.says([chunk(fragment(0, "", name="refund")), *endless, chunk({}, "tool_calls"), *chat_end()])
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            chunks = [part async for part in stream]
        assert not any(part.choices and part.choices[0].delta.tool_calls for part in chunks)
        assert [part.choices[0].finish_reason for part in chunks if part.choices][-1] == "stop"
        [record] = await tool_records(one)
        assert record["reason_codes"] == ["TOOL_ARGUMENTS_OVERSIZED"]


async def test_an_escalated_call_goes_once_when_it_is_approved(pair: Pair, client: AsyncOpenAI) -> None:
    """The handle stands in the text; the very same call goes once after the approval, and then not again."""
    one, backend = pair
    approvals = one.gateway._store
    contents = []
    for turn in range(4):
        backend.says(chat_frames(call("refund", LARGE)))
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        chunks = [part async for part in stream if part.choices]
        contents.append("".join(part.choices[0].delta.content or "" for part in chunks))
        called = any(part.choices[0].delta.tool_calls for part in chunks)
        assert called is (turn == 2), contents
        records = await tool_records(one)
        if turn == 1:
            from gateway.pipeline.approvals import Approvals
            from gateway.system import SystemClock

            asked = records[0]["decision_id"]
            await Approvals(approvals, SystemClock()).resolve(asked, approve=True, by="ann", reason="fine")
    first, second, third, fourth = await tool_records(one)
    assert first["decision_id"] in contents[0]
    assert "a person must approve it" in contents[0]
    assert first["decision_id"] in contents[1], "the question is asked once"
    assert [record["verdict"] for record in (first, second, third, fourth)] == ["ESCALATE"] * 4
    assert third["extensions"]["approval"]["state"] == "used"
    await one.outcomes(count=8)
    fates = [record["outcomes"][0]["fate"] for record in await tool_records(one)]
    assert fates == ["refused", "refused", "complete", "refused"]


async def test_error_mode_ends_a_stream(tmp_path: Path) -> None:
    """What was allowed before the refused call arrives, then the client's own error; the fate is `cut`."""
    async with gated(tmp_path, tool_calls={"on_refusal": "error"}) as (one, backend):
        backend.says(chat_frames(call("refund", SMALL), call("close_account", "{}"), call("look_up", "{}")))
        chunks = []
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
            with pytest.raises(openai.APIError) as caught:
                await read_into(stream, chunks)
        assert caught.value.code == "TOOL_CALL_REFUSED"
        assert caught.value.param == "choices[0].message.tool_calls[1]"
        names = [
            entry.function.name
            for part in chunks
            for entry in part.choices[0].delta.tool_calls or []
            if entry.function and entry.function.name
        ]
        assert names == ["refund"]
        outcomes = await one.outcomes(count=4)
        assert sorted(outcome["fate"] for outcome in outcomes) == ["cut", "cut", "cut", "refused"]


async def test_error_mode_withholds_a_whole_answer(tmp_path: Path) -> None:
    """Nothing has been sent yet, so the status says it."""
    async with gated(tmp_path, tool_calls={"on_refusal": "error"}) as (one, backend):
        backend.says_whole(chat_body(("close_account", "{}")))
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            with pytest.raises(openai.PermissionDeniedError) as caught:
                await client.chat.completions.create(model=MODEL, messages=HELLO)
        assert caught.value.code == "TOOL_CALL_REFUSED"
        assert caught.value.type == "policy_denied"
        assert caught.value.response.headers["x-should-retry"] == "false"
        outcomes = await one.outcomes(count=2)
        assert sorted(outcome["fate"] for outcome in outcomes) == ["failed", "refused"]


async def test_responses(pair: Pair, client: AsyncOpenAI) -> None:
    """Streamed and whole: the refused item is a message in its place, the other item is a call."""
    one, backend = pair
    backend.says(response(PARALLEL))
    async with client.responses.stream(model=MODEL, input="hello", max_output_tokens=64) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == ["message", "function_call", "message"]
    assert final.output[1].arguments == SMALL  # type: ignore[union-attr]
    assert "close_account" in final.output_text
    assert backend.heard[0]["max_output_tokens"] == 64
    outcomes = await one.outcomes(count=3)
    assert outcomes[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 9}
    backend.says_whole(response_object(PARALLEL))
    whole = await client.responses.create(model=MODEL, input="hello")
    assert [item.type for item in whole.output] == ["message", "function_call", "message"]
    record = next(
        item for item in await one.decisions() if item["request"]["action"]["type"] == "llm.response"
    )
    assert record["verdict"] == "TRUST"


async def test_messages(pair: Pair) -> None:
    """Anthropic's client: the refused block is text in its place; usage is read, versions pass."""
    one, backend = pair
    base = one.url.removesuffix("/v1")
    async with AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as client:
        backend.says(message(PARALLEL))
        async with client.messages.stream(model=MODEL, messages=HELLO, max_tokens=64) as stream:
            async for _ in stream:
                pass
            final = await stream.get_final_message()
        assert [block.type for block in final.content] == ["text", "tool_use", "text"]
        assert final.content[1].input == orjson.loads(SMALL)  # type: ignore[union-attr]
        assert final.stop_reason == "tool_use"
        version = client.default_headers["anthropic-version"]
        assert f"anthropic-version: {version}".encode() in backend.heads[0]
        outcomes = await one.outcomes(count=3)
        assert outcomes[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 9}
        content = [{"type": "tool_use", "id": "t", "name": "close_account", "input": {}}]
        base_body = {"id": "m", "type": "message", "role": "assistant", "model": MODEL}
        usage = {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 4}
        backend.says_whole({**base_body, "content": content, "stop_reason": "tool_use", "usage": usage})
        whole = await client.messages.create(model=MODEL, messages=HELLO, max_tokens=64)
        assert [block.type for block in whole.content] == ["text"]
        assert whole.stop_reason == "end_turn"
        outcomes = await one.outcomes(count=2)
        assert outcomes[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "cached_tokens": 2}
