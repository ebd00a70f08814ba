"""Other paths of a backend, ids with slashes, and Anthropic's keys and errors, through a whole gateway."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import orjson
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from tests.kit.gateways import running_gateway
from tests.kit.rawpeer import Wire, raw_client, raw_server
from tests.kit.toolgates import MODEL, gated, stream, tool_records
from tests.kit.toolstreams import call, response, response_object

HELLO: Any = [{"role": "user", "content": "hello"}]
PASSED = [{"path": "/v1/audio/*"}, {"path": "/v1/files/**", "methods": ["GET", "DELETE"]}]
SECRET = "sk-test-0123456789"
KEY = {"name": "bot", "hash": f"sha256:{hashlib.sha256(SECRET.encode()).hexdigest()}", "actions": ["llm.*"]}


async def test_a_configured_path_passes_unread(tmp_path: Path) -> None:
    """Any kind of body goes through byte for byte, both ways; it is decided and has its one fate."""
    async with gated(tmp_path, passthrough=PASSED) as (one, backend):
        sound = bytes(range(256)) * 40
        backend.says_whole(sound, b"content-type: audio/mpeg")
        form = aiohttp.FormData({"model": "tts"})
        form.add_field("file", b"\x00\xff", filename="a.wav")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{one.url}/audio/speech?voice=a%20b", data=form) as answer,
        ):
            assert answer.status == 200
            assert await answer.read() == sound
            assert answer.headers["content-type"] == "audio/mpeg"
        assert backend.heads[0].startswith(b"POST /v1/audio/speech?voice=a%20b HTTP/1.1")
        assert b"multipart/form-data" in backend.heads[0]
        assert b"\x00\xff" in backend.heard[0]
        [record] = await one.decisions()
        assert record["request"]["action"]["type"] == "llm.other"
        [outcome] = await one.outcomes()
        assert (outcome["fate"], outcome["status"], outcome["bytes_out"]) == ("complete", 200, len(sound))


async def test_a_stream_of_another_path_is_whole_by_its_framing(tmp_path: Path) -> None:
    """Its events are nobody's business: there is no end mark to wait for."""
    async with gated(tmp_path, passthrough=PASSED) as (one, backend):
        backend.answers.append(stream([b"data: 1\n\n", b"data: 2\n\n"]))
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{one.url}/audio/speech", json={}) as answer,
        ):
            assert await answer.read() == b"data: 1\n\ndata: 2\n\n"
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "complete"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/images/x", 404),
        ("GET", "/v1/audio/speech/x", 404),
        ("GET", "/v1/files", 404),
        ("POST", "/v1/files/x", 405),
        ("GET", "/v1/files/../chat/completions", 400),
        ("GET", "/v1/files/%2e%2e/x", 400),
        ("GET", "/v1/files/x%2Fy", 400),
        ("GET", "/v1/files/x//y", 404),
    ],
)
async def test_other_paths_do_not_pass(tmp_path: Path, method: str, path: str, status: int) -> None:
    """What no pattern names, or could be read in two ways, reaches no backend and no record."""
    async with gated(tmp_path, passthrough=PASSED) as (one, backend):
        async with raw_client(one.port) as client:
            await client.send(f"{method} {path} HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n".encode())
            assert (await client.read_answer()).status == status
        assert backend.heads == []
        assert await one.decisions() == []


async def test_nothing_passes_by_default(tmp_path: Path) -> None:
    """Without the configuration's word there are no other paths."""
    async with gated(tmp_path) as (one, backend):
        async with aiohttp.ClientSession() as session, session.get(f"{one.url}/files/x") as answer:
            assert answer.status == 404
        assert backend.heads == []


async def test_a_policy_may_refuse_what_the_configuration_lets_through(tmp_path: Path) -> None:
    """`llm.other` is decided like anything else."""
    passed = {"passthrough": PASSED, "policy_settings": {"packs": []}}
    async with gated(tmp_path, **passed) as (one, backend):
        async with aiohttp.ClientSession() as session, session.get(f"{one.url}/files/x") as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "NO_MATCH_DEFAULT_ESCALATE"
        assert backend.heads == []
        assert [outcome["fate"] for outcome in await one.outcomes()] == ["refused"]


async def test_a_stored_answer_is_gated(tmp_path: Path) -> None:
    """Reading a response again, whole or streamed, does not go around the gate."""
    async with gated(tmp_path, passthrough=[{"path": "/v1/responses/**"}]) as (one, backend):
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            backend.says_whole(response_object([call("close_it", "{}")]))
            kept = await client.responses.retrieve("resp_1")
            assert [item.type for item in kept.output] == ["message"]
            backend.says(response([call("close_it", "{}")]))
            kinds = [event.type async for event in await client.responses.retrieve("resp_1", stream=True)]
            assert not any("function_call" in kind for kind in kinds)
        assert [record["verdict"] for record in await tool_records(one)] == ["ABSTAIN"] * 2


async def test_a_model_with_a_slash_in_its_id(tmp_path: Path) -> None:
    """Names of model hubs have one: the model is found under its own path."""
    models = [{"name": "meta-llama/Llama-3", "backend": "raw"}]
    async with gated(tmp_path, models=models) as (one, _):
        async with AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0) as client:
            assert (await client.models.retrieve("meta-llama/Llama-3")).id == "meta-llama/Llama-3"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{one.url}/models/meta-llama/Llama-3") as answer:
                assert (await answer.json())["id"] == "meta-llama/Llama-3"
            async with session.get(f"{one.url}/models/meta-llama/none/at/all") as answer:
                assert answer.status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": SECRET}, 200),
        ({"authorization": f"Bearer {SECRET}"}, 200),
        ({"x-api-key": "wrong"}, 401),
        ({"x-api-key": "wrong", "authorization": f"Bearer {SECRET}"}, 401),
        ({}, 401),
    ],
)
async def test_the_key_of_a_message(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    """Anthropic's header or the other one, in Anthropic's shape; our key goes no further."""
    content = {"type": "message", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}
    async with gated(tmp_path, keys=[KEY]) as (one, backend):
        backend.says_whole(content)
        body = {"model": MODEL, "max_tokens": 5, "messages": HELLO}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{one.url}/messages", json=body, headers=headers) as answer,
        ):
            assert answer.status == status
            value = orjson.loads(await answer.read())
        if status == 401:
            assert value["type"] == "error"
            assert value["error"]["type"] == "authentication_error"
            assert value["request_id"]
            assert backend.heads == []
        else:
            assert SECRET.encode() not in backend.heads[0]
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{one.url}/chat/completions", json=body, headers={"x-api-key": SECRET}) as answer,
        ):
            assert answer.status == 401, "on OpenAI's paths it is no credential"


async def test_errors_of_messages_are_anthropics(tmp_path: Path) -> None:
    """Its client raises its own exceptions, with the request id where it looks for it."""
    async with gated(tmp_path) as (one, _):
        base = one.url.removesuffix("/v1")
        async with AsyncAnthropic(base_url=base, api_key="none", max_retries=0) as client:
            with pytest.raises(anthropic.PermissionDeniedError) as refused:
                await client.messages.create(model=MODEL, max_tokens=10_000_000, messages=HELLO, timeout=5.0)
            assert refused.value.body["error"]["code"] == "LLM_TOKENS_OVER_LIMIT"  # type: ignore[index]
            assert refused.value.request_id == refused.value.response.headers["x-request-id"]
            with pytest.raises(anthropic.NotFoundError):
                await client.messages.create(model="nobody", max_tokens=1, messages=HELLO)
            with pytest.raises(anthropic.UnprocessableEntityError) as wrong:
                await client.messages.create(model=MODEL, max_tokens=-1, messages=HELLO)
            assert wrong.value.body["error"]["param"] == "max_tokens"  # type: ignore[index]


async def test_a_message_that_breaks_off_says_so(tmp_path: Path) -> None:
    """The stream ends in Anthropic's error event, and the fate is `cut`."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        event = b'event: ping\ndata: {"type":"ping"}\n\n'
        await wire.send(head + b"%x\r\n%b\r\n" % (len(event), event))
        wire.reset()

    async with raw_server(script) as backend, running_gateway(tmp_path, backend_url=backend.url) as one:
        body = {"model": MODEL, "max_tokens": 5, "messages": HELLO, "stream": True}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{one.url}/messages", json=body) as answer,
        ):
            text = await answer.text()
        assert "event: error\n" in text
        assert '"type":"api_error"' in text
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "cut"
