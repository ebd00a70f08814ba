"""What is not decided: other messages and streams, passed on; lists of tools, as far as the caller may see.

Nothing of it is recorded, because nothing of it acts: calls of tools never come here. The same bounds and
deadlines hold as everywhere, a client that leaves takes its connection to the server with it, and a server
that fails is told of in the protocol's own errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.auth.keys import Principal
from gateway.kernel.bounds import MCP_EVENT_BYTES_MAX
from gateway.kernel.errors import (
    GatewayError,
    InvalidRequestError,
    MalformedRequestError,
    UpstreamBrokenError,
    UpstreamError,
)
from gateway.kernel.parse import parse_loose_json
from gateway.kernel.types import JSON
from gateway.listener.client import HttpClient
from gateway.live import Live
from gateway.pipeline.pins import Pins
from gateway.pipeline.relayed import Answer
from gateway.proxy.mcp.answers import check_status, is_stream
from gateway.proxy.mcp.servers import Server
from gateway.proxy.mcp.sight import is_hidden
from gateway.wire.mcp.answers import rpc_error
from gateway.wire.mcp.events import Event, EventSplitter, message_event, with_data
from gateway.wire.mcp.forward import forwarded_headers, relayed_headers
from gateway.wire.mcp.listing import Definition, definitions, shown
from gateway.wire.mcp.message import RpcId
from gateway.wire.mcp.revision import Era
from gateway.wire.mcp.watch import is_response


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a server may be silent, in seconds."""

    first_byte_s: float
    idle_s: float
    listen_idle_s: float
    """On a stream that only listens."""


@dataclass(frozen=True, slots=True)
class Way:
    """One message or stream that passes."""

    server: Server
    principal: Principal
    client: HttpClient
    era: Era
    body: bytes = b""
    rpc_id: RpcId | None = None
    """None for what awaits no response: a notification, a stream."""
    lists: bool = False
    """Its answer is, or may hold, a list of tools."""
    listens: bool = False
    """It stays open for what the server has to say."""


class Passage:
    """Passes on, and ends what only listens when the gateway stops."""

    def __init__(self, live: Live, pins: Pins, deadlines: Deadlines) -> None:
        self._live = live
        self._pins = pins
        self._deadlines = deadlines
        self._listening: set[asyncio.Task[object]] = set()

    def end_listening(self) -> None:
        """End the streams that would never end by themselves: clients open them again elsewhere."""
        for task in tuple(self._listening):
            task.cancel(_STOPPED)

    async def go(self, way: Way) -> None:
        """Pass one message on and its answer back. Raises GatewayError before an answer has begun."""
        if not way.listens:
            await self._go(way)
            return
        task = asyncio.current_task()
        assert task is not None
        self._listening.add(task)
        try:
            await self._go(way)
        except asyncio.CancelledError as stopped:
            if stopped.args != (_STOPPED,) or not way.client.begun:
                raise
            task.uncancel()
            way.client.break_off(_STOPPING)
        finally:
            self._listening.discard(task)

    async def _go(self, way: Way) -> None:
        client, backend = way.client, way.server.backend
        headers = forwarded_headers(client.raw_headers, way.era)
        headers.append((b"x-request-id", client.request_id.encode("ascii")))
        raw = await backend.send(
            client.method, way.server.path, headers, way.body, first_byte_s=self._deadlines.first_byte_s
        )
        try:
            check_status(raw.status)
            await self._relay(way, raw)
        finally:
            backend.release(raw)

    async def _relay(self, way: Way, raw: Answer) -> None:
        streamed = is_stream(raw.headers)
        if way.lists and not streamed and raw.status < 400:
            await self._relay_list(way, raw)
            return
        headers = [("x-request-id", way.client.request_id), *relayed_headers(raw.headers)]
        if streamed:
            headers.append(("x-accel-buffering", "no"))
        length = None if streamed else _length(raw.headers)
        await way.client.send_head(raw.status, headers, length=length, flush=not raw.buffered)
        try:
            if streamed and way.lists:
                await self._relay_events(way, raw)
            else:
                await self._relay_bytes(way, raw)
        except UpstreamError as error:
            self._break(way, error, streamed=streamed)
            return
        await way.client.send_end()

    async def _relay_bytes(self, way: Way, raw: Answer) -> None:
        while data := await raw.chunk(self._idle_s(way)):
            await way.client.send_chunk(data)
        if raw.framed and not raw.complete:
            raise UpstreamBrokenError("the server's answer broke off")

    async def _relay_events(self, way: Way, raw: Answer) -> None:
        splitter = EventSplitter(MCP_EVENT_BYTES_MAX)
        changed = False
        while data := await raw.chunk(self._idle_s(way)):
            pieces: list[bytes] = []
            for event in splitter.feed(data):
                if event.tail and changed:
                    continue
                piece = await self._event(way, event)
                changed = piece is not event.raw
                pieces.append(piece)
            if pieces:
                await way.client.send_chunk(b"".join(pieces))

    async def _event(self, way: Way, event: Event) -> bytes:
        if not event.data:
            return event.raw
        value = _read(event.data)
        if not _is_list(value, way.rpc_id):
            return event.raw
        return with_data(event, (await self._shown(way, event.data, value)).encode())

    async def _relay_list(self, way: Way, raw: Answer) -> None:
        body = await _whole(raw, self._deadlines.idle_s)
        value = _read(body)
        if _is_list(value, way.rpc_id):
            body = (await self._shown(way, body, value)).encode()
        headers = [("x-request-id", way.client.request_id), *relayed_headers(raw.headers)]
        await way.client.send_head(raw.status, headers, length=len(body), flush=False)
        await way.client.send_chunk(body)
        await way.client.send_end()

    async def _shown(self, way: Way, body: bytes, value: JSON) -> str:
        """Return a list without what the caller may not see, once what is new in it is pinned."""
        found = definitions(value["result"])
        await self._pins.see(way.server.name, [one for one in found if one is not None])
        hidden = [place for place, one in enumerate(found) if one is None or self._hides(way, one)]
        return shown(body.decode(), hidden, way.era)

    def _hides(self, way: Way, definition: Definition) -> bool:
        pin = self._pins.standing(way.server.name, definition.name).in_force
        if pin is None or pin.digest != definition.digest:
            return True
        return is_hidden(way.server, pin, way.principal, self._live.snapshot)

    def _idle_s(self, way: Way) -> float:
        return self._deadlines.listen_idle_s if way.listens else self._deadlines.idle_s

    def _break(self, way: Way, error: GatewayError, *, streamed: bool) -> None:
        if not streamed:
            way.client.break_off(None)
        elif way.rpc_id is None:
            way.client.break_off(_STOPPING)
        else:
            way.client.break_off(message_event(rpc_error(way.rpc_id, error)))


_STOPPED: Final = "the gateway is stopping"
_STOPPING: Final = b": the stream ends here\n\n"


def _read(body: bytes) -> JSON:
    """Read a server's message. A key that stands there twice would be pinned as one and read as the other."""
    try:
        return parse_loose_json(body, unique_everywhere=True)
    except (InvalidRequestError, MalformedRequestError):
        raise UpstreamBrokenError("the server's message is ambiguous, or no JSON") from None


def _is_list(value: JSON, rpc_id: RpcId | None) -> bool:
    """Tell whether a message is the awaited list; on a stream that is gone on with, whether it is any."""
    if rpc_id is not None:
        return is_response(value, rpc_id) and "result" in value
    result = value.get("result") if isinstance(value, dict) else None
    return isinstance(result, dict) and isinstance(result.get("tools"), list)


async def _whole(raw: Answer, idle_s: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while data := await raw.chunk(idle_s):
        pieces.append(data)
        size += len(data)
        if size > MCP_EVENT_BYTES_MAX:
            raise UpstreamBrokenError(f"the server's list is over {MCP_EVENT_BYTES_MAX} bytes")
    if raw.framed and not raw.complete:
        raise UpstreamBrokenError("the server's answer broke off")
    return b"".join(pieces)


def _length(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value)
    return None
