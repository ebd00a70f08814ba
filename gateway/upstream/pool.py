"""Connections to backends, kept open between requests, bounded per origin.

The newest idle connection is used first, so that the others grow old and are dropped before the
backend drops them: a request never meets a closing connection, and so never needs a blind retry.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from typing import Final

from gateway.kernel.bounds import UPSTREAM_CONNECT_S, UPSTREAM_CONNECTIONS_MAX, UPSTREAM_KEEPALIVE_S
from gateway.kernel.errors import UpstreamBusyError, UpstreamConnectTimeoutError, UpstreamUnreachableError
from gateway.upstream.connection import Connection
from gateway.upstream.target import Target

_BUSY_RETRY_S: Final = 1.0


class ConnectionPool:
    """Lends connections to one target. Lives in one event loop."""

    def __init__(
        self,
        target: Target,
        *,
        connections_max: int = UPSTREAM_CONNECTIONS_MAX,
        connect_s: float = UPSTREAM_CONNECT_S,
        keepalive_s: float = UPSTREAM_KEEPALIVE_S,
    ) -> None:
        self.target = target
        self._connections_max = connections_max
        self._connect_s = connect_s
        self._keepalive_s = keepalive_s
        self._idle: deque[Connection] = deque()
        self._lent: set[Connection] = set()
        self._connecting = 0
        self._tls = ssl.create_default_context() if target.tls else None
        self._closed = False

    @property
    def lent(self) -> int:
        """Connections with a request on them."""
        return len(self._lent)

    async def take(self) -> Connection:
        """Return an open connection. Raises UpstreamUnreachableError or UpstreamConnectTimeoutError."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.closed:
                continue
            if connection.idle_since < oldest:
                connection.abort()
                continue
            self._lent.add(connection)
            return connection
        if len(self._lent) + self._connecting >= self._connections_max:
            raise UpstreamBusyError("every connection to the backend is in use", retry_after_s=_BUSY_RETRY_S)
        self._connecting += 1
        try:
            connection = await self._connect(loop)
        finally:
            self._connecting -= 1
        if self._closed:
            # Closed while we were connecting: nobody would ever close this one.
            connection.abort()
            raise UpstreamBusyError("the gateway is stopping", retry_after_s=_BUSY_RETRY_S)
        self._lent.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Return a connection after use; one that cannot be used again is closed."""
        self._lent.discard(connection)
        if self._closed or not connection.reusable:
            connection.abort()
            return
        now = asyncio.get_running_loop().time()
        connection.idle_since = now
        self._idle.append(connection)
        # The oldest stands left: whatever is past its time goes now, so idle sockets do not pile up.
        while self._idle and self._idle[0].idle_since < now - self._keepalive_s:
            self._idle.popleft().abort()

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._closed = True
        for connection in (*self._idle, *self._lent):
            connection.abort()
        self._idle.clear()
        self._lent.clear()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Connection:
        target = self.target
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop),
                    target.host,
                    target.port,
                    ssl=self._tls,
                )
        except TimeoutError:
            raise UpstreamConnectTimeoutError(
                f"no connection to the backend within {self._connect_s:g} s", retry_after_s=_BUSY_RETRY_S
            ) from None
        except OSError as error:
            # The words reach clients: they never name the backend's address.
            raise UpstreamUnreachableError(
                f"no connection to the backend: {_reason(error)}",
                retry_after_s=_BUSY_RETRY_S,
            ) from None
        return connection


def _reason(error: OSError) -> str:
    """Say why in the words of the system's tables: a loop's own words may hold the address."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(getattr(error, 'reason', None) or 'failed').lower()}"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    return os.strerror(error.errno).lower() if error.errno else "every address failed"
