"""A lean HTTP/1.1 client for streamed answers: what it costs is not measured as the gateway's latency.

One `Connection` carries one exchange at a time and is kept for the next where both sides allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlsplit

import httptools

CONNECT_S: Final = 5.0
BODY_BYTES_MAX: Final = 64 << 20
"""A page of records is some 5 MB; whatever is longer is not for us."""
IDLE_MAX: Final = 512
"""Connections that are kept: more than a spike has open at a time on two cores."""
IDLE_S: Final = 2.0
"""No server closes so soon: a request must not meet a connection that is being closed."""


class AnswerError(OSError):
    """The answer broke off, or was none."""


def trouble(error: OSError) -> str:
    """Return what went wrong in a few words; a TimeoutError is an OSError without any."""
    if isinstance(error, AnswerError):
        return str(error)
    if error.errno:
        return os.strerror(error.errno).lower()
    return "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a server is: scheme, host and port, and the path that its base URL has."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self) -> str:
        """Return it as text, without the path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read_origin(url: str) -> Origin:
    """Return the origin of a base URL. Raise ValueError that says what is wrong with it."""
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no base URL: write http://host:port/v1")
    return Origin(
        parts.scheme,
        parts.hostname,
        parts.port or (443 if parts.scheme == "https" else 80),
        parts.path.rstrip("/"),
    )


@dataclass(slots=True)
class Head:
    """Status and headers of an answer, names in lower case, and when its last byte came (`perf_counter`)."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    done_s: float = 0.0

    @property
    def streamed(self) -> bool:
        """Tell whether the body is an event stream."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


Take = Callable[[Head, bytes, float], None]
"""Gets a piece of a body, with its head and the `perf_counter` instant at which it came."""


class _Connection(asyncio.Protocol):
    """One connection. Events of the parser end in what `exchange` waits for."""

    def __init__(self) -> None:
        self.head = Head()
        self._take: Take | None = None
        self.kept = True
        self.lost = False
        self._parser: httptools.HttpResponseParser | None = None
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None
        self._now_s = 0.0

    # --- asyncio -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.kept = False  # bytes that nobody asked for
            return
        self._now_s = time.perf_counter()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._fail(AnswerError(str(error.__context__ or error)))
        except httptools.HttpParserError as error:
            self._fail(AnswerError(f"the answer is no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._fail(AnswerError(f"the connection broke off{f': {exc}' if exc else ''}"))

    # --- httptools -----------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.head.status = self._parser.get_status_code()
        self.kept = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        if self._take is not None:
            self._take(self.head, body, self._now_s)

    def on_message_complete(self) -> None:
        if 100 <= self.head.status < 200:
            return
        self.head.done_s = self._now_s
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    # --- exchanges -----------------------------------------------------------------------------

    async def exchange(self, request: bytes, take: Take) -> Head:
        """Send a request, and return its head when its answer is whole. Raise AnswerError."""
        assert self._transport is not None
        self.head, self._take = Head(), take
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            await self._done
            return self.head
        finally:
            self._parser = self._take = None

    def close(self) -> None:
        """Close it at once."""
        self.kept = False
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: AnswerError) -> None:
        self.kept = False
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)


class Client:
    """Exchanges with one origin over kept connections."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self._tls = ssl.create_default_context() if origin.scheme == "https" else None
        self._idle: list[tuple[_Connection, float]] = []

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return the bytes of a request; `path` begins below the origin."""
        host = self.origin.url.partition("://")[2]
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "accept: */*"]
        if body:
            lines += ["content-type: application/json", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    async def exchange(self, request: bytes, take: Take) -> Head:
        """Send a request; `take` gets the pieces of the answer as they come.

        Raises OSError (AnswerError among them) and TimeoutError while connecting.
        """
        async with self._connection() as connection:
            return await connection.exchange(request, take)

    async def read(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[Head, bytes]:
        """Return the whole answer to a request. Raise OSError, TimeoutError."""
        parts: list[bytes] = []
        size = 0

        def keep(_head: Head, data: bytes, _at_s: float) -> None:
            nonlocal size
            size += len(data)
            if size > BODY_BYTES_MAX:
                raise AnswerError(f"the answer is over {BODY_BYTES_MAX} bytes")
            parts.append(data)

        head = await self.exchange(self.request(method, path, body, headers), keep)
        return head, b"".join(parts)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        connection = self._reusable() or await self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.kept and not connection.lost and len(self._idle) < IDLE_MAX:
            self._idle.append((connection, time.perf_counter()))
        else:
            connection.close()

    def _reusable(self) -> _Connection | None:
        while self._idle:
            connection, since_s = self._idle.pop()
            if connection.kept and not connection.lost and time.perf_counter() - since_s < IDLE_S:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_S):
            _, connection = await loop.create_connection(
                _Connection, self.origin.host, self.origin.port, ssl=self._tls
            )
        return connection

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop()[0].close()
