"""A listener of its own for a test, with an echo on each API and whatever handlers the test brings."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway.kernel.ids import IdSource
from gateway.listener.client import HttpClient
from gateway.listener.router import Route, Router
from gateway.listener.server import Listener
from gateway.wire.errors import openai_error_body, v0_error_body
from tests.kit.entries import CountedRandomness, StillClock
from tests.kit.rawpeer import Message, raw_client

BODY_BYTES_MAX = 1000
Handler = Callable[[HttpClient], Awaitable[None]]


async def echo(client: HttpClient) -> None:
    """Answer with the body that came."""
    await client.send(200, await client.read(), headers=[("x-request-id", client.request_id)])


async def hello(client: HttpClient) -> None:
    """Answer without reading."""
    await client.send(200, b'{"hello":1}')


@contextlib.asynccontextmanager
async def listening(**changed: object) -> AsyncIterator[tuple[Listener, int]]:
    """A listener with an echo on both APIs, and further handlers by path."""
    handlers: dict[str, Handler] = changed.pop("handlers", {})  # type: ignore[assignment]
    routes = [
        Route("POST", "/v1/echo", echo, openai_error_body, BODY_BYTES_MAX),
        Route("POST", "/v0/echo", echo, v0_error_body, BODY_BYTES_MAX),
        Route("GET", "/hello", hello, v0_error_body, 0),
        *(
            Route("POST", path, handler, openai_error_body, BODY_BYTES_MAX)
            for path, handler in handlers.items()
        ),
    ]
    router = Router(routes, shapes={"/v1/": openai_error_body}, fallback=v0_error_body)
    ids = IdSource(StillClock(), CountedRandomness())
    listener = Listener(router, ids, **changed)  # type: ignore[arg-type]
    port = await listener.start("127.0.0.1", 0)
    try:
        yield listener, port
    finally:
        await listener.drain(0.1)


async def ask(port: int, data: bytes) -> Message:
    """One request on a connection of its own."""
    async with raw_client(port) as client:
        await client.send(data)
        return await client.read_answer()


def get(target: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/{version}", "host: g", *lines, "", ""]).encode("latin-1")
