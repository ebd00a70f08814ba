"""The client's side of an exchange over aiohttp: bounded reading, framed writing, honest endings.

Implements `pipeline.ports.Client`. Writes go straight to aiohttp's stream writer: its response
classes prepare headers a relay has already prepared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_writer import HttpVersion11, StreamWriter
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import PayloadAccessError, RequestPayloadError

from gateway.kernel.bounds import BODY_DEADLINE_S, CLIENT_STALL_S
from gateway.kernel.errors import (
    GatewayError,
    MalformedRequestError,
    RequestTimeoutError,
    TooLargeError,
    UnsupportedMediaError,
)
from gateway.wire.errors import error_headers

ErrorShape = Callable[[GatewayError, str], bytes]
"""Makes an error's body, given the error and the request id."""

_NAMED: Final = (200, 201, 202, 204, 301, 302, 303, 304, 307, 308, *range(400, 418), 429, *range(500, 505))
_REASONS: Final = {status: HTTPStatus(status).phrase for status in _NAMED} | {
    413: "Content Too Large",
    422: "Unprocessable Content",
}
"""RFC 9110's, where Python still has older ones."""
_STATUS_LINES: Final = {status: f"HTTP/1.1 {status} {reason}\r\n" for status, reason in _REASONS.items()}
_BODILESS: Final = frozenset({204, 304})
_JSON: Final = ("content-type", "application/json")


class Written(web.StreamResponse):
    """Tells aiohttp that the answer has been written, and whether the connection lives on."""

    def __init__(self, *, lives_on: bool) -> None:
        super().__init__()
        self._lives_on = lives_on

    @property
    def keep_alive(self) -> bool:
        """The connection may carry another request."""
        return self._lives_on

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to prepare."""
        del request

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Nothing is left to write."""
        del data


_LIVES_ON: Final = Written(lives_on=True)
_ENDS: Final = Written(lives_on=False)
"""They say nothing of a particular answer, so that every request may share them."""


class HttpClient:
    """One request and its answer."""

    __slots__ = (
        "_any_media",
        "_begun",
        "_body_bytes_max",
        "_body_deadline_s",
        "_broken",
        "_chunked",
        "_ends",
        "_request",
        "_shape",
        "_stall_s",
        "_unsent",
        "_writer",
        "path",
        "request_id",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        *,
        request_id: str,
        shape: ErrorShape,
        body_bytes_max: int,
        body_deadline_s: float = BODY_DEADLINE_S,
        stall_s: float = CLIENT_STALL_S,
    ) -> None:
        self._request = request
        self.path = request.raw_path.partition("?")[0]
        """The target's path as it came, without the query."""
        self._writer: StreamWriter = request.writer  # type: ignore[assignment]
        self.request_id = request_id
        self._shape = shape
        self._body_bytes_max = body_bytes_max
        self._body_deadline_s = body_deadline_s
        self._stall_s = stall_s
        self._any_media = False
        self._begun = False
        self._ends = False
        self._broken = False
        self._chunked = False
        self._unsent = b""

    def serve_as(self, shape: ErrorShape, body_bytes_max: int, *, any_media: bool = False) -> None:
        """Take on the error shape, the body bound and the media types of the route that was found."""
        self._any_media = any_media
        self._shape = shape
        self._body_bytes_max = body_bytes_max

    def end_after_this(self) -> None:
        """Close the connection behind this answer: what follows cannot be trusted to be a request."""
        self._ends = True

    # --- the request -----------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return self._request.method

    @property
    def version(self) -> tuple[int, int]:
        """The protocol's version, as the request line says."""
        return self._request.version

    @property
    def query_string(self) -> str:
        """The target's query as it came, empty where there is none."""
        return self._request.raw_path.partition("?")[2]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters in order."""
        return parse_qsl(self.query_string, keep_blank_values=True, max_num_fields=100)

    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers as they came."""
        return self._request.raw_headers

    def header(self, name: str) -> str | None:
        """Return a header's first value."""
        return self._request.headers.get(name)

    @property
    def connected(self) -> bool:
        """The client's side of the connection is up, as far as we know."""
        transport = self._request.transport
        return transport is not None and not transport.is_closing()

    async def read(self) -> bytes:
        """Return the whole body. Raises RequestError for one that is too large, too slow or not JSON."""
        request = self._request
        self._check_body_headers()
        payload = request.content
        if payload.at_eof():
            return b""
        if request.headers.get("expect", "").lower() == "100-continue":
            await self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._writer.output_size = 0
        try:
            if payload.is_eof():
                return self._bounded(await payload.readany())
            async with asyncio.timeout(self._body_deadline_s):
                return await self._read_on()
        except TimeoutError:
            self._ends = True
            raise RequestTimeoutError(f"the body did not arrive within {self._body_deadline_s:g} s") from None
        except (RequestPayloadError, PayloadAccessError, HttpProcessingError, HTTPException, ValueError):
            self._ends = True
            raise MalformedRequestError(
                "the body's framing is broken", hint="see RFC 9112 section 7"
            ) from None

    async def _read_on(self) -> bytes:
        payload = self._request.content
        pieces: list[bytes] = []
        size = 0
        while not payload.at_eof():
            piece = await payload.readany()
            size += len(piece)
            if size > self._body_bytes_max:
                break
            pieces.append(piece)
        return self._bounded(b"".join(pieces), size)

    def _bounded(self, body: bytes, size: int | None = None) -> bytes:
        if (len(body) if size is None else size) > self._body_bytes_max:
            raise self._too_large()
        return body

    def _check_body_headers(self) -> None:
        headers = self._request.headers
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"", "identity"}:
            self._ends = True
            raise UnsupportedMediaError(f"content-encoding `{coding[:40]}` is not read", hint="send it plain")
        length = self._request.content_length
        if length is not None and length > self._body_bytes_max:
            raise self._too_large()
        if self._any_media:
            return
        media = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if self.method == "POST" and media != "application/json" and not media.endswith("+json"):
            self._ends = True
            raise UnsupportedMediaError(
                f"content-type `{media[:80]}` is not read", hint="send `content-type: application/json`"
            )

    def _too_large(self) -> TooLargeError:
        self._ends = True
        return TooLargeError(f"the body is over {self._body_bytes_max} bytes")

    # --- the answer ------------------------------------------------------------------------------

    async def send_head(
        self,
        status: int,
        headers: Sequence[tuple[str, str]],
        *,
        length: int | None,
        flush: bool,
    ) -> None:
        """Begin the answer; see the port."""
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} Status\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        if status in _BODILESS:
            # RFC 9110 8.6: a length here would be the length of another answer.
            pass
        elif length is not None:
            lines.append(f"content-length: {length}\r\n")
        elif self.version >= HttpVersion11:
            self._chunked = True
            lines.append("transfer-encoding: chunked\r\n")
        else:
            # HTTP/1.0 knows no chunks: the close is the end.
            self._ends = True
        if self._ends or not self._request.keep_alive:
            self._ends = True
            lines.append("connection: close\r\n")
        self._begun = True
        lines.append("\r\n")
        self._unsent = "".join(lines).encode("latin-1")
        if flush:
            self._write(b"")

    async def send_chunk(self, data: bytes) -> None:
        """Send a piece of the body, and wait while the client is slower than we are.

        Raises ConnectionError where it has left, or has read nothing for so long that it might as well.
        """
        if self.method == "HEAD":
            return  # A body after the head of a HEAD would be read as the next answer.
        self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        transport = self._request.transport
        if transport is None or not transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(self._stall_s):
                await self._writer.drain()
        except TimeoutError:
            raise ConnectionAbortedError("the client does not read its answer") from None

    async def send_end(self) -> None:
        """End the answer as whole."""
        if self._chunked and self.method != "HEAD":
            self._write(b"0\r\n\r\n")
        elif self._unsent:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        if self._unsent:
            data = self._unsent + data
            self._unsent = b""
        transport.write(data)
        # aiohttp asks this before it would answer in our stead.
        self._writer.output_size += len(data)

    def break_off(self, last_event: bytes | None) -> None:
        """End an answer so that it cannot be taken for whole; see the port."""
        self._ends = self._broken = True
        transport = self._request.transport
        if transport is None:
            return
        if last_event is not None and self._chunked and not transport.is_closing():
            self._write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last_event), last_event))
            transport.close()
        else:
            transport.abort()

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Answer with an error in the shape of this route's API."""
        own = [*headers] or [("x-request-id", self.request_id)]
        body = self._shape(error, self.request_id)
        await self.send(error.status, body, headers=[*own, *error_headers(error)])

    async def send(
        self,
        status: int,
        body: bytes,
        *,
        headers: Sequence[tuple[str, str]] = (),
        media: str | None = None,
    ) -> None:
        """Answer with a whole body, JSON unless `media` says otherwise, with headers or the request id."""
        kind = _JSON if media is None else ("content-type", media)
        own = headers or (("x-request-id", self.request_id),)
        await self.send_head(status, [kind, *own], length=len(body), flush=False)
        await self.send_chunk(body)
        await self.send_end()

    @property
    def begun(self) -> bool:
        """The head of the answer has been made: no other may follow."""
        return self._begun

    def written(self) -> Written:
        """Return what aiohttp is told when the handler is done."""
        return _ENDS if self._ends or self._broken else _LIVES_ON
