"""The guards around aiohttp's server protocol."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiohttp import http_parser, web
from aiohttp.web_protocol import RequestHandler

from gateway.listener import protocol as module
from gateway.listener.client import HttpClient
from gateway.listener.protocol import c_parser_loaded
from gateway.listener.server import Listener
from tests.kit.gateways import eventually
from tests.kit.listeners import get, listening
from tests.kit.rawpeer import post, raw_client


async def protocol_of(listener: Listener) -> RequestHandler:
    """The protocol of a listener's only connection."""
    assert await eventually(lambda: listener._server.connections)
    [protocol] = listener._server.connections
    return protocol


def test_the_c_parser_is_told_from_the_python_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check says yes here and no where aiohttp fell back to its Python parser."""
    assert c_parser_loaded()
    monkeypatch.setattr(module, "HttpRequestParser", http_parser.HttpRequestParserPy)
    assert not c_parser_loaded()


@pytest.mark.parametrize("steps", range(5))
async def test_the_rest_of_a_body_arms_no_deadline_for_heads(steps: int) -> None:
    """Body bytes that arrive at any step before the handler runs never lead to a 408 in its answer."""

    async def slow(client: HttpClient) -> None:
        body = await client.read()
        await asyncio.sleep(0.1)
        await client.send(200, body)

    guarded = listening(header_deadline_s=0.05, handlers={"/v1/slow": slow})
    async with guarded as (listener, port), raw_client(port) as client:
        protocol = await protocol_of(listener)
        data = post("/v1/slow", b"[1,2,3]")
        protocol.data_received(data[:-3])
        for _ in range(steps):
            await asyncio.sleep(0)
        protocol.data_received(data[-3:])
        answer = await client.read_answer()
    assert (answer.status, answer.body) == (200, b"[1,2,3]")


async def test_a_deadline_that_fires_late_leaves_a_running_request_alone() -> None:
    """The timer is checked again when it fires: a request that has begun is never answered 408."""
    running, finish = asyncio.Event(), asyncio.Event()

    async def slow(client: HttpClient) -> None:
        running.set()
        await finish.wait()
        await client.send(200, b"{}")

    async with listening(handlers={"/v1/slow": slow}) as (listener, port), raw_client(port) as client:
        await client.send(post("/v1/slow", b"{}"))
        await running.wait()
        (await protocol_of(listener))._expire()  # type: ignore[attr-defined]
        finish.set()
        assert (await client.read_answer()).status == 200


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    """Between requests a connection lives for the keep-alive time, then it is closed."""
    async with listening(keepalive_s=0.05) as (_, port), raw_client(port) as client:
        await client.send(get("/hello"))
        assert (await client.read_answer()).status == 200
        assert await client.read_all() == b""


async def test_a_fault_inside_aiohttp_is_an_honest_500() -> None:
    """What goes wrong outside our handler is answered in our shape, without words or versions."""
    async with listening() as (listener, port), raw_client(port) as client:

        async def broken(request: web.BaseRequest) -> web.StreamResponse:
            raise RuntimeError("canary-4711")

        (await protocol_of(listener))._request_handler = broken
        await client.send(get("/hello"))
        answer = await client.read_answer()
    assert (answer.status, orjson.loads(answer.body)["error"]["code"]) == (500, "INTERNAL")
    assert b"4711" not in answer.body
    assert answer.header("server") is None


async def test_a_fault_after_the_answer_began_is_no_second_answer() -> None:
    """Once bytes have left, aiohttp may not answer again: the connection ends."""
    async with listening() as (listener, port), raw_client(port) as client:

        async def broken(request: web.BaseRequest) -> web.StreamResponse:
            await request.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            raise RuntimeError("late")

        (await protocol_of(listener))._request_handler = broken
        await client.send(get("/hello"))
        answer = await client.read_answer()
    assert (answer.status, answer.body, answer.complete) == (200, b"half", False)


async def test_a_refusal_to_a_client_that_has_gone_is_dropped() -> None:
    """A parse error whose sender has left is answered to nobody, quietly."""
    async with listening() as (listener, port), raw_client(port) as client:
        protocol = await protocol_of(listener)
        protocol.data_received(b"garbage\r\n\r\n")
        assert protocol.transport is not None
        protocol.transport.abort()
        assert await client.read_all() == b""
        assert await eventually(lambda: not listener._server.connections)


async def test_garbage_behind_a_whole_request_does_not_spoil_it() -> None:
    """What cannot be read behind a whole request is refused after its answer, and not instead of it."""
    running, finish = asyncio.Event(), asyncio.Event()

    async def slow(client: HttpClient) -> None:
        running.set()
        await finish.wait()
        await client.send(200, await client.read())

    async with listening(handlers={"/v1/slow": slow}) as (listener, port), raw_client(port) as client:
        await client.send(post("/v1/slow", b"[1]"))
        await running.wait()
        (await protocol_of(listener)).data_received(b"garbage\r\n\r\n")
        finish.set()
        first, second = await client.read_answer(), await client.read_answer()
    assert (first.status, first.body, second.status) == (200, b"[1]", 400)
