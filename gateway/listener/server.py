"""One listening socket: requests to routes, faults to honest answers, and a drain that loses nobody."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from gateway.kernel.bounds import BODY_DEADLINE_S, CLIENT_STALL_S, HEADER_DEADLINE_S, KEEPALIVE_S
from gateway.kernel.errors import GatewayError, InternalError, MalformedRequestError, SetupError
from gateway.kernel.ids import IdSource
from gateway.listener.client import HttpClient
from gateway.listener.protocol import GuardedServer, c_parser_loaded
from gateway.listener.router import Router
from gateway.telemetry.log import LOG, name_fault
from gateway.wire.headers import check_request_headers, clean_request_id

_BACKLOG: Final = 1024
"""Connections the kernel holds for us during a spike; the default of 100 drops SYNs at 1,000 users."""

_VERSIONS: Final = ((1, 0), (1, 1))
_CUT_S: Final = 0.5
"""What is cut at the end of a drain has only to say so: milliseconds, unless the loop is busy."""


class Listener:
    """Serves a router on a host and port."""

    def __init__(
        self,
        router: Router,
        ids: IdSource,
        *,
        header_deadline_s: float = HEADER_DEADLINE_S,
        body_deadline_s: float = BODY_DEADLINE_S,
        keepalive_s: float = KEEPALIVE_S,
        stall_s: float = CLIENT_STALL_S,
    ) -> None:
        self._router = router
        self._ids = ids
        self._body_deadline_s = body_deadline_s
        self._stall_s = stall_s
        self._server = GuardedServer(
            self._handle,
            header_deadline_s=header_deadline_s,
            keepalive_s=keepalive_s,
        )
        self._socket: asyncio.Server | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()

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
        self._emptied = asyncio.get_running_loop().create_future()
        if self._running:
            await asyncio.wait([self._emptied], timeout=deadline_s)
        if self._running:
            # Cut while the connection is still up, so that the client is told and the fate is ours.
            for task in self._running:
                task.cancel()
            await asyncio.wait([self._emptied], timeout=_CUT_S)
        # Zero would mean: wait for ever.
        await self._server.shutdown(_CUT_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request. One coroutine and no more: whatever wakes it passes through every frame."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        path = request.raw_path.partition("?")[0]
        request_id = clean_request_id(request.headers.get("x-request-id")) or self._ids.new()
        client = HttpClient(
            request,
            request_id=request_id,
            shape=self._router.shape_of(path),
            body_bytes_max=0,
            body_deadline_s=self._body_deadline_s,
            stall_s=self._stall_s,
        )
        try:
            _check_head(client)
            route = self._router.find(request.method, path)
            client.serve_as(route.shape, route.body_bytes_max, any_media=route.any_media)
            await route.handler(client)
        except GatewayError as error:
            await self._answer_error(client, error)
        except ConnectionError:
            client.break_off(None)
        except Exception as error:  # noqa: BLE001 - the last net: whatever broke gets an honest 500
            LOG.error("request failed", extra={"facts": {"request_id": request_id, **name_fault(error)}})
            await self._answer_error(client, InternalError())
        finally:
            self._running.discard(task)
            if not self._running and self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)
        return client.written()

    async def _answer_error(self, client: HttpClient, error: GatewayError) -> None:
        if client.begun:
            client.break_off(None)
            return
        try:
            await client.send_error(error)
        except ConnectionError:
            client.break_off(None)


def _check_head(client: HttpClient) -> None:
    """Refuse a head that two servers might read differently, and read nothing behind it."""
    try:
        if not client.path.startswith("/"):
            # An absolute target may name another host than `Host` does: two readers, two answers.
            raise MalformedRequestError("the request target must be a path")  # noqa: TRY301 - one way out
        if client.version not in _VERSIONS:
            raise MalformedRequestError("the request is not HTTP/1.1")  # noqa: TRY301 - as above
        check_request_headers(client.raw_headers, http_1_0=client.version == (1, 0))
    except MalformedRequestError:
        client.end_after_this()
        raise
