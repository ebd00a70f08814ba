"""aiohttp's server protocol with the guards it lacks: a deadline for headers, and errors in our shape.

aiohttp parses strictly with its C parser and closes idle connections, but half a request header may
stay open for ever (reliability.md B3). Everything else is aiohttp's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from gateway.kernel.bounds import (
    HEADER_BYTES_MAX,
    HEADER_DEADLINE_S,
    HEADERS_COUNT_MAX,
    KEEPALIVE_S,
)
from gateway.kernel.errors import GatewayError, InternalError, MalformedRequestError, RequestTimeoutError
from gateway.listener.client import Written
from gateway.wire.errors import openai_error_body

_LINGER_S: Final = 2.0
"""After an early answer the rest of a body is read and dropped this long, so that the client sees the
answer and not a reset (RFC 9112 9.6); longer would let a refused upload hold a connection."""


def c_parser_loaded() -> bool:
    """Tell whether aiohttp's C parser is in use: the pure-Python one accepts ambiguous requests."""
    return HttpRequestParser is not HttpRequestParserPy


def _last_answer(status: str, error: GatewayError) -> bytes:
    """Return a whole answer that ends its connection and names no software."""
    body = openai_error_body(error, "")
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json\r\nx-should-retry: false\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)
    )


class _LastAnswer(Written):
    """Answers in bytes of our own: aiohttp's would be HTTP/1.0 and name its version."""

    def __init__(self, status: str, error: GatewayError) -> None:
        super().__init__(lives_on=False)
        self._bytes = _last_answer(status, error)

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write the answer."""
        if request.transport is not None:
            request.transport.write(self._bytes)


class GuardedProtocol(RequestHandler):
    """One client connection."""

    __slots__ = ("_header_deadline", "_header_deadline_s")

    def __init__(self, server: web.Server, *, header_deadline_s: float, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._header_deadline: asyncio.TimerHandle | None = None
        self._header_deadline_s = header_deadline_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline at once: a connection that says nothing is half a request too."""
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Start the deadline with the first byte of a head, stop it with the last."""
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._disarm()
            self._tell_reader()
        elif self._header_deadline is None and self._idle:
            self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Drop the timer with the connection."""
        self._disarm()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refused in our shape. The parser's words may quote the request: unused."""
        del exc, message
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        if status == 500:
            return _LastAnswer("500 Internal Server Error", InternalError())
        fault = MalformedRequestError("the request is not valid HTTP", hint="see RFC 9112")
        return _LastAnswer("400 Bad Request", fault)

    def _tell_reader(self) -> None:
        """Where a body's framing broke, aiohttp queues the fault behind the handler that waits for it."""
        request = self._current_request
        broken = bool(self._messages) and isinstance(self._messages[-1][0], _ErrInfo)
        if broken and request is not None and not request.content.is_eof():
            request.content.set_exception(RequestPayloadError("the body's framing is broken"))

    @property
    def _idle(self) -> bool:
        """No request is under way: what arrives is a head, and not the body of one that has begun."""
        return self._waiter is not None and not self._waiter.done()

    def _arm(self) -> None:
        self._header_deadline = self._loop.call_later(self._header_deadline_s, self._expire)

    def _disarm(self) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None

    def _expire(self) -> None:
        self._header_deadline = None
        transport = self.transport
        if transport is None or not self._idle:
            return
        fault = RequestTimeoutError("the request's headers did not arrive in time")
        transport.write(_last_answer("408 Request Timeout", fault))
        self.force_close()


class GuardedServer(web.Server):
    """Makes one `GuardedProtocol` a connection; a handler is cancelled when its client leaves."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        header_deadline_s: float = HEADER_DEADLINE_S,
        keepalive_s: float = KEEPALIVE_S,
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._header_deadline_s = header_deadline_s
        self._keepalive_s = keepalive_s

    def __call__(self) -> RequestHandler:
        """Make the protocol of a new connection."""
        return GuardedProtocol(
            self,
            header_deadline_s=self._header_deadline_s,
            loop=self._loop,
            keepalive_timeout=self._keepalive_s,
            access_log=None,
            auto_decompress=False,
            lingering_time=_LINGER_S,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_COUNT_MAX,
        )
