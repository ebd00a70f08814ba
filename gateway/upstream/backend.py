"""A backend that speaks the OpenAI API over HTTP: a target, its connections, its credential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from gateway.kernel.errors import InvalidConfigError, UpstreamError
from gateway.upstream.connection import Connection
from gateway.upstream.pool import ConnectionPool
from gateway.wire.headers import CREDENTIALS, header_lines


class ReadableAnswer(Protocol):
    """What `release` is handed back: an answer of this backend."""

    @property
    def complete(self) -> bool:
        """The body came to its declared end."""
        ...


class HttpBackend:
    """Sends requests to one origin. Implements `pipeline.ports.Backend`."""

    __slots__ = ("_credential", "_host", "_pool", "name")

    def __init__(self, name: str, pool: ConnectionPool, *, api_key: str | None = None) -> None:
        """Take a name, the connections, and the credential. Raises InvalidConfigError for a bad one."""
        self.name = name
        self._pool = pool
        self._host = pool.target.host_header
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            # A secret file often ends in a newline, which would end the request's head.
            raise InvalidConfigError(
                f"backends.{name}.api_key holds characters that no header may hold",
                hint="take out newlines and whatever is not printable ASCII",
            )
        self._credential = b"" if api_key is None else f"authorization: Bearer {api_key}\r\n".encode("ascii")

    async def send(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        first_byte_s: float,
    ) -> Connection:
        """Send a request and wait for the head of its answer. Raises UpstreamError."""
        connection = await self._pool.take()
        try:
            connection.send(self._head(method, path, headers, len(body)), body)
            await connection.head(first_byte_s)
        except UpstreamError:
            self._pool.give_back(connection)
            raise
        except BaseException:
            # Cancelled: the client has left. The backend learns it by the reset, at once.
            connection.abort()
            self._pool.give_back(connection)
            raise
        return connection

    def release(self, answer: object) -> None:
        """Take the answer's connection back; if the answer is not whole, it is closed at once."""
        self._pool.give_back(cast("Connection", answer))

    @property
    def in_flight(self) -> int:
        """Requests that have left and whose answer is not yet read."""
        return self._pool.lent

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def _head(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body_bytes: int,
    ) -> bytes:
        """Write the request head; `accept-encoding: identity` because the gateway reads what it relays."""
        start = (
            f"{method} {self._pool.target.prefix}{path} HTTP/1.1\r\nhost: {self._host}\r\n"
            f"content-length: {body_bytes}\r\naccept-encoding: identity\r\n"
        )
        if self._credential:
            headers = [pair for pair in headers if pair[0].lower() not in CREDENTIALS]
        return start.encode("latin-1") + self._credential + header_lines(headers) + b"\r\n"
