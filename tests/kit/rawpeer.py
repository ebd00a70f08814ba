r"""Peers whose every byte a test writes itself, over real sockets: both ends scripted, as in HAProxy's VTest.

A `Wire` is one end of a TCP connection. `raw_server` runs a script for each connection it accepts, and
`raw_client` connects. Neither knows HTTP beyond finding the end of a message, on purpose: they send what
a test says, right or wrong. `read_answer` and `read_request` share no code with the gateway's parsers.

    async def script(wire: Wire) -> None:
        request = await wire.read_request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with raw_server(script) as backend, raw_client(backend.port) as client:
        ...

A script that returns closes its connection; one that is still waiting when the server ends is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

PATIENCE_S: Final = 5.0
"""No step of a script waits longer: a test that hangs fails here, with a line that says where."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer as it came: `start` is its first line, `head` all bytes up to the blank line."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool
    """The body came to the end that its framing declared."""
    head: bytes

    @property
    def status(self) -> int:
        """The status code of an answer."""
        return int(self.start.split(" ")[1])

    def header(self, name: str) -> str | None:
        """The first value of a header, by its lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write and flush. Raises ConnectionError where the other end has gone."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            await self.writer.drain()

    async def read_request(self) -> Message:
        """Read one request; end of file before it is whole raises EOFError."""
        message = await self._message(answer=False)
        if not message.complete:
            raise EOFError("the request broke off")
        return message

    async def read_answer(self, *, bodiless: bool = False) -> Message:
        """Read one final answer, interim ones skipped; `complete` tells whether its body was whole."""
        while True:
            message = await self._message(answer=True, bodiless=bodiless)
            if message.status >= 200 or message.status == 101:
                return message

    async def read_all(self) -> bytes:
        """Read until the other end closes or resets."""
        data = b""
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                while piece := await self.reader.read(65_536):
                    data += piece
        return data

    async def closed(self, within_s: float = PATIENCE_S) -> bool:
        """Tell whether the other end closes or resets within `within_s`; what it still sends is dropped."""
        try:
            async with asyncio.timeout(within_s):
                while await self.reader.read(65_536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def close(self) -> None:
        """Close in order: what was sent arrives, then end of file."""
        self.writer.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        peer = self.writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _message(self, *, answer: bool, bodiless: bool = False) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as error:
                raise EOFError(f"no message, only {error.partial!r}") from None
            start, *lines = head[:-4].decode("latin-1").split("\r\n")
            pairs = [line.partition(":") for line in lines]
            headers = [(name.lower(), value.strip()) for name, _, value in pairs]
            fields = dict(headers)
            if answer and (bodiless or start.split(" ")[1] in {"204", "304"} or " 1" in start[:10]):
                return Message(start, headers, b"", complete=True, head=head)
            body, complete = await self._body(fields, until_close=answer)
            return Message(start, headers, body, complete, head)

    async def _body(self, fields: dict[str, str], *, until_close: bool) -> tuple[bytes, bool]:
        body = b""
        try:
            if fields.get("transfer-encoding") == "chunked":
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    body += await self.reader.readexactly(size)
                    await self.reader.readexactly(2)
                await self.reader.readexactly(2)
                return body, True
            if "content-length" in fields:
                return await self.reader.readexactly(int(fields["content-length"])), True
            while until_close and (piece := await self.reader.read(65_536)):
                body += piece
        except asyncio.IncompleteReadError as error:
            return body + error.partial, False
        except ConnectionError:
            return body, False
        return body, True


Script: TypeAlias = Callable[[Wire], Awaitable[None]]


@dataclass(slots=True)
class RawServer:
    """A running peer. `script` may be replaced at any time: the next connection follows the new one."""

    script: Script
    port: int = 0
    accepted: int = 0
    """Connections so far."""
    faults: list[BaseException] = field(default_factory=list)
    """What scripts raised besides the other end going away: `raw_server` raises the first at its end."""

    @property
    def url(self) -> str:
        """An OpenAI base URL for a gateway's configuration."""
        return f"http://127.0.0.1:{self.port}/v1"


@contextlib.asynccontextmanager
async def raw_server(script: Script) -> AsyncIterator[RawServer]:
    """Serve `script` on a free port of loopback."""
    server = RawServer(script)
    running: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        server.accepted += 1
        try:
            await server.script(Wire(reader, writer))
        except (ConnectionError, EOFError, asyncio.CancelledError):
            pass  # the other end has gone, or the test is over: scripts need not foresee it
        except BaseException as error:  # noqa: BLE001 - told to the test, which runs in another task
            server.faults.append(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            running.discard(task)

    listening = await asyncio.start_server(converse, "127.0.0.1", 0, limit=1 << 20)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in running:
            task.cancel()
        while running:
            await asyncio.wait(running, timeout=PATIENCE_S)
    if server.faults:
        raise server.faults[0]


@contextlib.asynccontextmanager
async def raw_client(port: int, *, receive_buffer_bytes: int | None = None) -> AsyncIterator[Wire]:
    """Connect to a port of loopback; a small receive buffer makes a slow reader slow at once."""
    peer = socket.socket()
    if receive_buffer_bytes is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    peer.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", port))
    except OSError:
        peer.close()
        raise
    limit = 1 << 20 if receive_buffer_bytes is None else 4096
    reader, writer = await asyncio.open_connection(sock=peer, limit=limit)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def chunked(*pieces: bytes) -> bytes:
    """Frame pieces as chunks, the last one included."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def post(path: str, body: bytes, *headers: str, media: str = "application/json") -> bytes:
    """Write a plain POST request."""
    lines = [f"POST {path} HTTP/1.1", "host: gateway", f"content-length: {len(body)}", *headers]
    if media:
        lines.append(f"content-type: {media}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
