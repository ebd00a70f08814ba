"""One listening socket: requests to routes, faults to honest answers, and a drain that loses nobody."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from gateway.kernel.bounds import HEADER_DEADLINE_S, KEEPALIVE_S
from gateway.kernel.errors import GatewayError, InternalError, MalformedRequestError, SetupError
from gateway.kernel.ids import IdSource
from gateway.listener.client import HttpClient
from gateway.listener.protocol import GuardedServer, c_parser_loaded
from gateway.listener.router import Router
from gateway.telemetry.log import LOG, name_fault
from gateway.wire.headers import check_request_headers, clean_request_id

_BACKLOG: Final = 1024
"""Connections the kernel holds for us during a spike; the default of 100 drops SYNs at 1,000 users."""


_CUT_S: Final = 1.0
"""For handlers to say that they were cut. They do not wait for anybody, so this is a net, not a pause."""
_CLOSE_S: Final = 0.05
"""For what is left of a connection. Never 0: aiohttp takes that for no deadline at all."""


class Listener:
    """Serves a router on a host and port."""

    def __init__(
        self,
        router: Router,
        ids: IdSource,
        *,
        header_deadline_s: float = HEADER_DEADLINE_S,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        self._router = router
        self._ids = ids
        self._server = GuardedServer(
            self._handle,
            header_deadline_s=header_deadline_s,
            keepalive_s=keepalive_s,
        )
        self._socket: asyncio.Server | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._running: set[asyncio.Task[object]] = set()

    @property
    def in_flight(self) -> int:
        """Requests whose handler is running."""
        return len(self._running)

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen; return the port (the one chosen, where 0 was asked). Raises SetupError."""
        if not c_parser_loaded():
            raise SetupError(
                "aiohttp's C parser is not loaded", hint="unset AIOHTTP_NO_EXTENSIONS and reinstall"
            )
        loop = asyncio.get_running_loop()
        try:
            self._socket = await loop.create_server(
                self._server,
                host,
                port,
                backlog=_BACKLOG,
                reuse_port=reuse_port or None,
            )
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SetupError(
                f"cannot listen on {host}:{port}: {reason}", hint="choose another port"
            ) from None
        return int(self._socket.sockets[0].getsockname()[1])

    async def drain(self, deadline_s: float) -> None:
        """Stop accepting, let running requests end for `deadline_s`, then cut what is left."""
        if self._socket is None:
            return
        self._socket.close()
        self._server.pre_shutdown()
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        self._emptied = loop.create_future()
        if self.in_flight:
            await asyncio.wait([self._emptied], timeout=max(until - loop.time(), 0))
        # aiohttp would close the connections first: then a cut answer could not say so, and would be
        # taken for a client that left.
        if cut := set(self._running):
            for task in cut:
                task.cancel()
            await asyncio.wait(cut, timeout=_CUT_S)
        await self._server.shutdown(_CLOSE_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await self._answer(request)
        finally:
            self._running.discard(task)
            if not self._running and self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        request_id = clean_request_id(request.headers.get("x-request-id")) or self._ids.new()
        client = HttpClient(
            request, request_id=request_id, shape=self._router.shape_of(path), body_bytes_max=0
        )
        try:
            if not path.startswith("/"):
                # An absolute target may name another host than `Host` does: two readers, two answers.
                raise MalformedRequestError("the request target must be a path")  # noqa: TRY301
            check_request_headers(request.raw_headers)
            route = self._router.find(request.method, path)
            client.serve_as(route.shape, route.body_bytes_max)
            await route.handler(client)
        except GatewayError as error:
            await self._answer_error(client, error)
        except ConnectionError:
            client.break_off(None)
        except Exception as error:  # noqa: BLE001 - the last net: whatever broke gets an honest 500
            LOG.error("request failed", extra={"facts": {"request_id": request_id, **name_fault(error)}})
            await self._answer_error(client, InternalError())
        return client.written()

    async def _answer_error(self, client: HttpClient, error: GatewayError) -> None:
        if client.begun:
            client.break_off(None)
            return
        try:
            await client.send_error(error)
        except ConnectionError:
            client.break_off(None)
