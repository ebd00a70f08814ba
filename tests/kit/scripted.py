"""One upstream connection to a peer whose every byte is scripted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.upstream.connection import Connection
from tests.kit.gateways import eventually
from tests.kit.rawpeer import Script, Wire, raw_server

REQUEST = b"POST /v1/x HTTP/1.1\r\nhost: b\r\ncontent-length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
PATIENT_S = 5.0
BODY = b'{"a": 1}'


@contextlib.asynccontextmanager
async def connected(script: Script) -> AsyncIterator[Connection]:
    """A connection to a peer that follows `script`; one request has been sent."""
    loop = asyncio.get_running_loop()
    async with raw_server(script) as peer:
        _, connection = await loop.create_connection(lambda: Connection(loop), "127.0.0.1", peer.port)
        connection.send(REQUEST, b"")
        try:
            yield connection
        finally:
            connection.abort()
            await eventually(lambda: connection._transport is None)


def says(*pieces: bytes, then: str = "stay") -> Script:
    """Read one request, send the pieces in segments of their own, then stay, close or reset."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        for piece in pieces:
            await wire.send(piece)
            await asyncio.sleep(0.001)  # a segment of its own
        if then == "stay":
            await wire.read_all()
        elif then == "reset":
            wire.reset()

    return script


async def read_on(connection: Connection) -> bytes:
    """Read an answer's body to its end."""
    body = b""
    while piece := await connection.chunk(PATIENT_S):
        body += piece
    return body
