"""Servers that are down, slow, cut off or wrong, and clients that leave: honest errors and one fate each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.wire.mcp.revision import Era
from tests.kit.gateways import RunningGateway, eventually
from tests.kit.mcp import (
    ERAS,
    NEW,
    OLD,
    Stub,
    call,
    error_of,
    json_answer,
    listing,
    mcp_gateway,
    post,
    request,
    response,
    sse,
    sse_head,
    stub_server,
)
from tests.kit.rawpeer import Message, Wire, chunked, raw_client, raw_server

QUICK = {"first_byte_s": 0.3, "idle_s": 0.3, "connect_s": 0.5}


@asynccontextmanager
async def shop(directory: Path, **settings: Any) -> AsyncIterator[tuple[Stub, RunningGateway]]:
    """A server whose tools are pinned, behind a gateway that is not patient."""
    async with stub_server() as stub, mcp_gateway(directory, stub.url, limits=QUICK, **settings) as one:
        await listing(one, era=OLD)
        yield stub, one


async def closes(wire: Wire, _: Message, __: dict[str, Any]) -> None:
    """Say nothing and close."""
    wire.reset()


async def waits(wire: Wire, _: Message, __: dict[str, Any]) -> None:
    """Say nothing for ever."""
    await wire.read_all()


async def half_json(wire: Wire, _: Message, message: dict[str, Any]) -> None:
    """Break off in the middle of a JSON body."""
    body = response(message, {"content": []})
    await wire.send(json_answer(body)[:-5])
    wire.reset()


async def half_stream(wire: Wire, _: Message, __: dict[str, Any]) -> None:
    """Break off in the middle of an event."""
    await wire.send(sse_head() + b'c\r\ndata: {"json\r\n')
    wire.reset()


async def ended_stream(wire: Wire, _: Message, __: dict[str, Any]) -> None:
    """End a stream in order, without a response."""
    await wire.send(sse_head() + chunked(sse(b'{"jsonrpc":"2.0","method":"notifications/x"}')))


async def html(wire: Wire, _: Message, __: dict[str, Any]) -> None:
    """Answer as a proxy that knows nothing of the protocol."""
    await wire.send(b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("answer", "code", "fate"),
    [(closes, 502, "failed"), (waits, 504, "failed")],
    ids=["closes", "waits"],
)
async def test_no_answer_is_an_error_under_the_callers_id(
    tmp_path: Path, era: Era, answer: Any, code: int, fate: str
) -> None:
    """With sessions the status is 200, because such clients take 5xx for the end of theirs."""
    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = answer
        told = await call(one, "read", {}, era=era)
        assert told.status == (code if era is NEW else 200)
        assert error_of(told)["code"] == code
        assert error_of(told)["data"]["decision_id"] == (await one.decisions(limit=1))[0]["decision_id"]
        assert orjson.loads(told.body)["id"] == 1
        [outcome] = await one.outcomes()
        assert outcome["fate"] == fate


async def test_a_server_that_is_down_is_told_of_before_anything_is_decided(tmp_path: Path) -> None:
    """Of a tool that nobody has listed nothing can be said; of one that is pinned the call is on record."""
    async with raw_server(lambda wire: wire.read_all()) as gone:  # type: ignore[arg-type, return-value]
        url = f"http://127.0.0.1:{gone.port}/mcp"
    async with mcp_gateway(tmp_path, url, limits=QUICK) as one:
        for body in (request("tools/call", {"name": "read"}), request("tools/list", {}), request("ping", {})):
            told = await post(one, body)
            assert (told.status, error_of(told)["code"]) == (502, 502)
            assert error_of(told)["data"] == {"code": "UPSTREAM_UNREACHABLE", "should_retry": True}
            assert told.header("x-should-retry") == "true"
            assert str(gone.port).encode() not in told.body
        assert await one.decisions() == []


async def test_half_an_answer_cannot_be_taken_for_a_whole_one(tmp_path: Path) -> None:
    """JSON breaks off as it did; the fate is that it was cut."""
    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = half_json
        told = await call(one, "read", {})
        assert not told.complete
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "cut"


@pytest.mark.parametrize("answer", [half_stream, ended_stream], ids=["half an event", "no response"])
async def test_a_stream_that_breaks_off_ends_in_an_error_that_is_awaited(tmp_path: Path, answer: Any) -> None:
    """No half event reaches the client: what it reads last is the error of its own request."""
    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = answer
        told = await call(one, "read", {})
        last = orjson.loads(told.body.rstrip().split(b"data: ")[-1])
        assert (last["id"], last["error"]["code"]) == (1, 502)
        assert b'{"json' not in told.body.replace(b'{"jsonrpc', b"")
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "cut"


async def test_a_stream_that_may_be_gone_on_with_just_ends(tmp_path: Path) -> None:
    """With sessions a server may close after an event with an id: its client asks for what follows."""

    async def later(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        await wire.send(sse_head() + chunked(b"id: 1\nretry: 10\ndata:\n\n"))

    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = later
        told = await call(one, "read", {}, era=OLD)
        assert told.complete
        assert told.body.startswith(b"id: 1\nretry: 10\ndata:\n\n: ")
        assert b"error" not in told.body
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "cut"
        told = await call(one, "read", {}, era=NEW)
        assert b'"error"' in told.body


@pytest.mark.parametrize("era", ERAS)
async def test_what_is_no_json_rpc_passes_as_it_is(tmp_path: Path, era: Era) -> None:
    """A proxy's page with its status: the call failed, and the client sees with what."""
    async with shop(tmp_path) as (stub, one):
        stub.answers |= {"tools/call": html, "ping": html}
        for told in (
            await call(one, "read", {}, era=era),
            await post(one, request("ping", {}, era=era), era=era),
        ):
            assert (told.status, told.body) == (502, b"<p/>")
        [outcome] = await one.outcomes()
        assert (outcome["fate"], outcome["status"]) == ("failed", 502)


@pytest.mark.parametrize("method", ["ping", "tools/list"])
@pytest.mark.parametrize("answer", [closes, waits, half_json, half_stream])
async def test_what_is_not_decided_fails_honestly_too(tmp_path: Path, method: str, answer: Any) -> None:
    """An error where nothing has been sent, else an end that cannot be taken for whole."""
    async with shop(tmp_path) as (stub, one):
        stub.answers[method] = answer
        told = await post(one, request(method, {}))
        if b"data: " in told.body:
            assert orjson.loads(told.body.rstrip().split(b"data: ")[-1])["error"]["code"] in {502, 504}
        elif told.complete:
            assert error_of(told)["code"] in {502, 504}
        else:
            assert answer is half_json


async def test_a_list_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    """Twins in it would be pinned as one thing and read as another; neither is a list of what is no tool."""
    bad = [
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"read","name":"wipe"}]}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":5}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"tools":[',
    ]
    async with shop(tmp_path) as (stub, one):
        for body in bad:

            async def answer(wire: Wire, _: Message, __: dict[str, Any], body: bytes = body) -> None:
                await wire.send(json_answer(body))

            stub.answers["tools/list"] = answer
            told = await listing(one)
            assert (told.status, error_of(told)["data"]["code"]) == (502, "UPSTREAM_BROKEN")


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_leaves_takes_the_call_with_it(tmp_path: Path, era: Era) -> None:
    """Closing is cancelling on the newer revision: the server's connection closes too."""
    closed = asyncio.Event()

    async def watch(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        if await wire.closed():
            closed.set()

    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = watch
        asking = asyncio.get_running_loop().create_task(call(one, "read", {}, era=era))
        assert await eventually(lambda: len(stub.calls) == 1)
        asking.cancel()
        await asyncio.wait([asking])
        async with asyncio.timeout(2):
            await closed.wait()
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "client_gone"


async def test_a_store_that_fails_lets_nothing_go(tmp_path: Path) -> None:
    """No call, and no list with tools that could not be pinned; what acts on nothing still passes."""
    async with shop(tmp_path) as (stub, one):
        await one.store.close()
        told = await call(one, "read", {})
        assert (told.status, error_of(told)["code"]) == (503, 503)
        assert error_of(told)["data"]["should_retry"] is True
        stub.tools[0]["description"] = "another"
        assert (await listing(one)).status == 503
        assert stub.calls == []
        assert (await post(one, request("ping", {}))).status == 200


async def test_a_stop_does_not_wait_for_those_who_only_listen(tmp_path: Path) -> None:
    """A GET stream ends at once and in order, so that its client opens it elsewhere."""

    async def listen(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        await wire.send(sse_head() + b"a\r\n: hello!\n\n\r\n")
        await wire.read_all()

    limits = {**QUICK, "drain_s": 20}
    async with stub_server() as stub:
        stub.answers["GET"] = listen
        async with mcp_gateway(tmp_path, stub.url, limits=limits) as one, raw_client(one.port) as client:
            await client.send(b"GET /mcp/shop HTTP/1.1\r\nhost: g\r\naccept: text/event-stream\r\n\r\n")
            assert b": hello!" in await client.reader.readuntil(b"hello!\n\n")
            began = asyncio.get_running_loop().time()
            await one.gateway.close()
            assert asyncio.get_running_loop().time() - began < 5
            rest = await client.read_all()
            assert rest.endswith(b"0\r\n\r\n")
