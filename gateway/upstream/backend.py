"""A backend that speaks the OpenAI API over HTTP: a target, its connections, its credential, its breaker."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from gateway.kernel.errors import (
    InvalidConfigError,
    UpstreamBusyError,
    UpstreamError,
    UpstreamOpenError,
    UpstreamTimeoutError,
)
from gateway.telemetry.log import LOG
from gateway.upstream.breaker import Breaker, BreakerSettings
from gateway.upstream.connection import Connection
from gateway.upstream.pool import ConnectionPool
from gateway.wire.headers import CREDENTIALS, header_lines

RESULTS: Final = (
    "answered",
    "client_error",
    "throttled",
    "server_error",
    "unreachable",
    "broken",
    "timeout",
    "busy",
    "open",
    "left",
)
"""What an attempt can come to, as far as the head of its answer; `left` is a client that did not wait."""
_SICK: Final = frozenset({502, 503, 504})
"""A backend that says so cannot serve. 500 may be the fault of one request, 429 is a limit and no illness."""
_SETTLED: Final = -1
"""The epoch of an attempt whose result is told, or says nothing."""


class ReadableAnswer(Protocol):
    """What `release` is handed back: an answer of this backend."""

    @property
    def complete(self) -> bool:
        """The body came to its declared end."""
        ...


class HttpBackend:
    """Sends requests to one origin. Implements `pipeline.ports.Backend`."""

    __slots__ = ("_credential", "_host", "_now", "_pool", "_refuses", "breaker", "name", "results")

    def __init__(
        self,
        name: str,
        pool: ConnectionPool,
        *,
        api_key: str | None = None,
        key: str = "backends.{}.api_key",
        breaker: Breaker | None = None,
        refuses: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take a name, the connections, and the credential. Raises InvalidConfigError for a bad one.

        With `refuses` an open breaker turns requests away; else it only keeps the backend out of choices.
        `key` is where the credential stands in the configuration, with braces for the name.
        """
        self.name = name
        self.breaker = breaker or Breaker(BreakerSettings(), lambda: 0.0)
        self.results = dict.fromkeys(RESULTS, 0)
        """How many attempts came to what."""
        self._pool = pool
        self._refuses = refuses
        self._now = now
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
        epoch = self.breaker.epoch if self.breaker.closed else self._probe()
        connection: Connection | None = None
        try:
            connection = await self._pool.take()
            connection.send(self._head(method, path, headers, len(body)), body)
            await connection.head(first_byte_s)
        except UpstreamError as error:
            self._failed(error, epoch)
            if connection is not None:
                self._pool.give_back(connection)
            raise
        except BaseException:
            # Cancelled: the client has left. The backend learns it by the reset, at once.
            self.results["left"] += 1
            self.breaker.abandoned(epoch, self._now())
            if connection is not None:
                connection.abort()
                self._pool.give_back(connection)
            raise
        connection.epoch = epoch
        if connection.status < 400:
            self.results["answered"] += 1
            if not self.breaker.closed:
                self._answered(epoch)
        else:
            self._said_no(connection)
        return connection

    def release(self, answer: object) -> None:
        """Take the answer's connection back; if the answer is not whole, it is closed at once."""
        connection = cast("Connection", answer)
        if connection.complete:
            self.breaker.succeeded(connection.epoch, self._now())
        elif connection.broke:
            self._opened(self.breaker.failed(connection.epoch, self._now()), "it broke off its answer")
        self._pool.give_back(connection)

    @property
    def in_flight(self) -> int:
        """Requests that have left and whose answer is not yet read."""
        return self._pool.lent

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    # --- the breaker -----------------------------------------------------------------------------

    def _probe(self) -> int:
        now_s = self._now()
        if self._refuses and not self.breaker.admits(now_s):
            self.results["open"] += 1
            raise UpstreamOpenError(
                "the backend has failed too often and is not tried just now",
                retry_after_s=max(1.0, self.breaker.due_in_s(now_s)),
            )
        return self.breaker.sent(now_s)

    def _said_no(self, connection: Connection) -> None:
        """Count an answer that is an error; its body says nothing more of the backend's health."""
        status, epoch = connection.status, connection.epoch
        throttled = status == 429
        self.results["throttled" if throttled else "client_error" if status < 500 else "server_error"] += 1
        if status in _SICK:
            self._opened(self.breaker.failed(epoch, self._now()), f"it answers {status}")
        else:
            self._answered(epoch)
        if throttled or status >= 500:
            connection.epoch = _SETTLED

    def _failed(self, error: UpstreamError, epoch: int) -> None:
        if isinstance(error, UpstreamBusyError):
            self.results["busy"] += 1
            self.breaker.abandoned(epoch, self._now())
            return
        late = isinstance(error, UpstreamTimeoutError)
        self.results["timeout" if late else "broken" if error.sent else "unreachable"] += 1
        self._opened(self.breaker.failed(epoch, self._now()), error.message)

    def _opened(self, opened: bool, reason: str) -> None:
        if opened:
            for_s = round(self.breaker.due_in_s(self._now()), 3)
            LOG.warning(
                "backend is out", extra={"facts": {"backend": self.name, "reason": reason, "for_s": for_s}}
            )

    def _answered(self, epoch: int) -> None:
        if self.breaker.answered(epoch):
            LOG.info("backend is back", extra={"facts": {"backend": self.name}})

    # --- the head --------------------------------------------------------------------------------

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
