"""The definitions of a server's tools before a call: as pinned, else asked for by the gateway itself.

Clients list tools before they call them, so that a definition is usually pinned long since. Where it is not,
the gateway reads the list as the caller's session would, bounded in time, pages and frequency.
"""

from __future__ import annotations

import asyncio

import orjson

from gateway.kernel.bounds import (
    MCP_EVENT_BYTES_MAX,
    MCP_LEARN_INTERVAL_S,
    MCP_LEARN_PAGES_MAX,
    MCP_LEARN_S,
)
from gateway.kernel.clock import Clock
from gateway.kernel.errors import UpstreamBrokenError, UpstreamError, UpstreamTimeoutError
from gateway.kernel.ids import IdSource
from gateway.kernel.types import JSON, JSONObject
from gateway.pipeline.pins import Pins, Standing
from gateway.pipeline.relayed import Answer
from gateway.proxy.mcp.answers import check_status, is_stream
from gateway.proxy.mcp.ask import Ask
from gateway.wire.mcp.events import EventSplitter
from gateway.wire.mcp.forward import forwarded_headers
from gateway.wire.mcp.listing import definitions, next_cursor
from gateway.wire.mcp.message import LIST
from gateway.wire.mcp.revision import CAPABILITIES_KEY, STATELESS_VERSIONS, VERSION_KEY, Era
from gateway.wire.mcp.watch import AnswerWatch

_MIRRORS = (b"mcp-method", b"mcp-name", b"mcp-param-", b"content-type", b"accept", b"last-event-id")
"""Headers of the call that would contradict another request."""


class Learner:
    """Tells what is known of a tool, and asks its server where that is not enough."""

    def __init__(self, pins: Pins, clock: Clock, ids: IdSource) -> None:
        self.pins = pins
        self._clock = clock
        self._ids = ids
        self._asked_s: dict[str, float] = {}
        self._busy: dict[str, asyncio.Lock] = {}

    async def standing(self, ask: Ask) -> Standing:
        """Return what is known of the tool that is called.

        Raises UpstreamError where nothing is known and the server does not answer, and StoreError.
        """
        server, tool = ask.server.name, ask.tool
        standing = self.pins.standing(server, tool)
        if standing.in_force is not None:
            return standing
        async with self._busy.setdefault(server, asyncio.Lock()):
            # An operator, or a list that went by meanwhile, may have said what was missing.
            standing = await self.pins.refresh(server, tool)
            if standing.in_force is None and self._due(server):
                await self._learn(ask, needed=standing.pin is None)
        return self.pins.standing(server, tool)

    def _due(self, server: str) -> bool:
        now_s = self._clock.monotonic_s()
        due = now_s - self._asked_s.get(server, -MCP_LEARN_INTERVAL_S) >= MCP_LEARN_INTERVAL_S
        if due:
            self._asked_s[server] = now_s
        return due

    async def _learn(self, ask: Ask, *, needed: bool) -> None:
        try:
            async with asyncio.timeout(MCP_LEARN_S):
                cursor: str | None = None
                for _ in range(MCP_LEARN_PAGES_MAX):
                    result = await self._page(ask, cursor)
                    found = [one for one in definitions(result) if one is not None]
                    await self.pins.see(ask.server.name, found)
                    cursor = next_cursor(result)
                    if cursor is None:
                        return
        except TimeoutError:
            if needed:
                raise UpstreamTimeoutError(
                    f"the server did not list its tools within {MCP_LEARN_S:g} s"
                ) from None
        except UpstreamError:
            # What was held before stays held.
            if needed:
                raise

    async def _page(self, ask: Ask, cursor: str | None) -> JSON:
        rpc_id = f"lumyn-list-{self._ids.new()}"
        params: JSONObject = {} if cursor is None else {"cursor": cursor}
        headers = [
            pair
            for pair in forwarded_headers(ask.headers, ask.era)
            if not pair[0].lower().startswith(_MIRRORS)
        ]
        headers += [
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ]
        if ask.era is Era.STATELESS:
            headers.append((b"mcp-method", LIST.encode()))
            params["_meta"] = {VERSION_KEY: STATELESS_VERSIONS[-1], CAPABILITIES_KEY: {}}
        body = orjson.dumps({"jsonrpc": "2.0", "id": rpc_id, "method": LIST, "params": params})
        backend = ask.server.backend
        raw = await backend.send("POST", ask.server.path, headers, body, first_byte_s=MCP_LEARN_S)
        try:
            check_status(raw.status)
            if raw.status >= 400:
                # It does not list to this caller (no session, say): then there is nothing to call.
                return {"tools": []}
            response = await _response(raw, AnswerWatch(rpc_id))
        finally:
            backend.release(raw)
        return response.get("result", {"tools": []})


async def _response(raw: Answer, watch: AnswerWatch) -> JSONObject:
    splitter = EventSplitter(MCP_EVENT_BYTES_MAX) if is_stream(raw.headers) else None
    while data := await raw.chunk(MCP_LEARN_S):
        if splitter is None:
            watch.piece(data)
        elif any(event.data and watch.event(event.data) for event in splitter.feed(data)):
            break
    if not watch.done or watch.response is None:
        raise UpstreamBrokenError("the server did not answer a request for its tools")
    return watch.response
