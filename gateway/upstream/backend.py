"""A backend that speaks the OpenAI API over HTTP: a target, its connections, its credential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from gateway.kernel.errors import InvalidConfigError, UpstreamError
from gateway.upstream.connection import Connection
from gateway.upstream.pool import ConnectionPool
from gateway.wire.headers import CREDENTIALS


class ReadableAnswer(Protocol):
    """What `release` is handed back: an answer of this backend."""

    @property
    def complete(self) -> bool:
        """The body came to its declared end."""
        ...


class HttpBackend:
    """Sends requests to one origin. Implements `pipeline.ports.Backend`."""

    __slots__ = ("_credential", "_host", "_pool", "name")

    def __init__(
        self, name: str, pool: ConnectionPool, *, api_key: str | None = None, key: str = "backends.{}.api_key"
    ) -> None:
        """Take a name, the connections, and the credential. Raises InvalidConfigError for a bad one.

        `key` is where the credential stands in the configuration, with braces for the name.
        """
        self.name = name
        self._pool = pool
        self._host = pool.target.host_header
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            # A secret file often ends in a newline, which would end the request's head.
            raise InvalidConfigError(
                f"{key.format(name)} holds characters that no header may hold",
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
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers if not self._replaces(pair[0])])
        return start.encode("latin-1") + self._credential + lines + b"\r\n"

    def _replaces(self, name: bytes) -> bool:
        return bool(self._credential) and name.lower() in CREDENTIALS
