"""Connections lent, taken back, reused and bounded, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from gateway.kernel.errors import UpstreamTimeoutError, UpstreamUnreachableError
from gateway.upstream import pool as module
from gateway.upstream.connection import Connection
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import Target
from tests.kit.gateways import eventually
from tests.kit.rawpeer import RawServer, Wire, raw_server

REQUEST = b"GET / HTTP/1.1\r\nhost: b\r\ncontent-length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


async def answer_all(wire: Wire) -> None:
    """Answer every request on a connection."""
    while True:
        await wire.read_request()
        await wire.send(ANSWER)


@contextlib.asynccontextmanager
async def pooled(**settings: float) -> AsyncIterator[tuple[ConnectionPool, RawServer]]:
    """A pool towards a peer that answers."""
    async with raw_server(answer_all) as peer:
        pool = ConnectionPool(Target("127.0.0.1", peer.port, tls=False, prefix=""), **settings)  # type: ignore[arg-type]
        try:
            yield pool, peer
        finally:
            await pool.close()


async def use(connection: Connection) -> None:
    """One request and its whole answer."""
    connection.send(REQUEST, b"")
    await connection.head(5)
    assert await connection.chunk(5) == b""


async def test_a_used_connection_is_lent_again() -> None:
    """Requests one after the other share a connection, and none is lent between them."""
    async with pooled() as (pool, peer):
        for _ in range(3):
            connection = await pool.take()
            assert pool.lent == 1
            await use(connection)
            pool.give_back(connection)
            assert pool.lent == 0
        assert peer.accepted == 1


async def test_the_newest_idle_connection_goes_first() -> None:
    """Of several idle connections the last one used is lent, so that the others grow old."""
    async with pooled() as (pool, _):
        both = [await pool.take(), await pool.take()]
        for connection in both:
            await use(connection)
            pool.give_back(connection)
        assert await pool.take() is both[1]


async def test_an_old_connection_is_not_lent() -> None:
    """Past its keep-alive time an idle connection is dropped, and a new one is made."""
    async with pooled(keepalive_s=0.02) as (pool, peer):
        connection = await pool.take()
        await use(connection)
        pool.give_back(connection)
        await asyncio.sleep(0.03)
        assert await pool.take() is not connection
        assert connection.closed
        assert peer.accepted == 2


async def test_old_connections_go_when_another_comes_back() -> None:
    """Idle sockets do not pile up: whatever is past its time is closed at the next return."""
    async with pooled(keepalive_s=0.02) as (pool, _):
        old, new = await pool.take(), await pool.take()
        await use(old)
        await use(new)
        pool.give_back(old)
        await asyncio.sleep(0.03)
        pool.give_back(new)
        assert old.closed
        assert not new.closed


async def test_a_connection_that_closed_while_idle_is_passed_over() -> None:
    """What the backend closed in the meantime is not lent."""
    async with pooled() as (pool, peer):
        connection = await pool.take()
        await use(connection)
        pool.give_back(connection)
        connection.abort()
        assert await pool.take() is not connection
        assert await eventually(lambda: peer.accepted == 2)


async def test_an_unfinished_connection_is_closed_when_it_comes_back() -> None:
    """What has an answer outstanding is never lent to another request."""
    async with pooled() as (pool, _):
        connection = await pool.take()
        connection.send(REQUEST, b"")
        pool.give_back(connection)
        assert connection.closed


async def test_the_bound_refuses_at_once() -> None:
    """At its bound, connecting ones included, the pool says so instead of waiting."""
    async with pooled(connections_max=2) as (pool, _):
        lent = await asyncio.gather(pool.take(), pool.take(), pool.take(), return_exceptions=True)
        [refused] = [error for error in lent if isinstance(error, UpstreamUnreachableError)]
        assert (refused.retryable, refused.retry_after_s) == (True, module._BUSY_RETRY_S)
        assert pool.lent == 2
        [first, *_] = [one for one in lent if isinstance(one, Connection)]
        pool.give_back(first)
        assert isinstance(await pool.take(), Connection)


async def test_closing_closes_the_idle_and_the_lent() -> None:
    """After `close` every connection is closed, and one that comes back later too."""
    async with pooled() as (pool, _):
        idle, lent = await pool.take(), await pool.take()
        await use(idle)
        await use(lent)
        pool.give_back(idle)
        await pool.close()
        assert idle.closed
        assert lent.closed
        pool.give_back(lent)
        assert pool.lent == 0


async def test_a_connection_made_while_the_pool_closes_is_not_leaked() -> None:
    """A connection that is ready only after `close` is closed, and its request told."""
    async with pooled() as (pool, peer):
        taking = asyncio.get_running_loop().create_task(pool.take())
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(UpstreamUnreachableError, match="stopping"):
            await taking
        assert pool.lent == 0
        await eventually(lambda: peer.accepted)


async def test_a_refused_connection_is_unreachable_and_names_no_address() -> None:
    """The error says why and may be retried; the backend's address is not a client's business."""
    async with raw_server(answer_all) as peer:
        port = peer.port
    pool = ConnectionPool(Target("127.0.0.1", port, tls=False, prefix=""))
    with pytest.raises(UpstreamUnreachableError, match="connection refused") as caught:
        await pool.take()
    assert "127.0.0.1" not in caught.value.message
    assert str(port) not in caught.value.message


async def test_an_unknown_name_is_unreachable() -> None:
    """A host name that nobody knows is told as that."""
    pool = ConnectionPool(Target("no-such-host.invalid", 80, tls=False, prefix=""))
    with pytest.raises(UpstreamUnreachableError, match="its name is not known"):
        await pool.take()


async def test_a_slow_connect_is_a_timeout() -> None:
    """A backend that accepts nothing is given up at the deadline."""
    with contextlib.closing(socket.socket()) as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(3):  # fill its backlog: further SYNs are dropped
                filler = stack.enter_context(contextlib.closing(socket.socket()))
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            pool = ConnectionPool(
                Target("127.0.0.1", full.getsockname()[1], tls=False, prefix=""), connect_s=0.05
            )
            with pytest.raises(UpstreamTimeoutError, match=r"within 0\.05 s"):
                await pool.take()


async def test_a_backend_without_tls_is_told_from_one_that_is_down() -> None:
    """A failed handshake is unreachable, with TLS's own short reason."""

    async def plain(wire: Wire) -> None:
        await wire.reader.read(10)
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(plain) as peer:
        pool = ConnectionPool(Target("127.0.0.1", peer.port, tls=True, prefix=""))
        with pytest.raises(UpstreamUnreachableError, match=r"TLS: \w+"):
            await pool.take()


def test_reasons_are_short_and_total() -> None:
    """Every kind of failure has words of its own, none from the operating system's addresses."""
    assert module._reason(OSError(111, "x")) == "connection refused"
    assert module._reason(OSError("Multiple exceptions: 10.0.0.1")) == "every address failed"
    assert module._reason(ssl.SSLError(1, "x")) == "TLS: failed"
    assert module._reason(socket.gaierror(-2, "x")) == "its name is not known"
