"""One connection against a peer that is slow, endless or gone: deadlines, bounds and what follows them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.errors import UpstreamBrokenError, UpstreamTimeoutError
from gateway.upstream import connection as module
from gateway.upstream.connection import Connection
from tests.kit.gateways import eventually
from tests.kit.rawpeer import Wire, raw_server
from tests.kit.scripted import BODY, OK, PATIENT_S, connected, read_on, says


async def test_the_deadline_of_a_head_is_one_for_the_whole_head() -> None:
    """A backend that drips its head a byte at a time does not move the deadline."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 1000:
            await wire.send(bytes([byte]))
            await asyncio.sleep(0.005)

    async with connected(script) as connection:
        async with asyncio.timeout(1.0):
            with pytest.raises(UpstreamTimeoutError, match=r"within 0\.1 s"):
                await connection.head(0.1)
        assert connection.closed


async def test_framing_without_content_does_not_move_the_deadline() -> None:
    """A chunk extension that never ends is silence: no byte of the body has come."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n1;")
        while True:
            await wire.send(b"x")
            await asyncio.sleep(0.005)

    async with connected(script) as connection:
        await connection.head(PATIENT_S)
        assert await connection.chunk(PATIENT_S) == b"ok"
        async with asyncio.timeout(1.0):
            with pytest.raises(UpstreamTimeoutError, match="silence in the middle"):
                await connection.chunk(0.1)


@pytest.mark.parametrize("tail", [b"0\r\nx-late: ", b"1;"], ids=["trailer", "chunk extension"])
async def test_framing_without_an_end_is_bounded(tail: bytes) -> None:
    """A trailer or a chunk extension without end is refused at the bound of a head, not kept."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(OK + b"transfer-encoding: chunked\r\n\r\n" + tail)
        while True:
            await wire.send(b"a" * 8192)

    async with connected(script) as connection:
        await connection.head(PATIENT_S)
        with pytest.raises(UpstreamBrokenError, match="over the bound"):
            await connection.chunk(PATIENT_S)


async def test_a_body_that_arrived_is_read_before_its_fault() -> None:
    """What came before the reset is relayed, then the fault is told."""
    async with connected(says(OK + b"content-length: 100\r\n\r\n" + BODY, then="reset")) as connection:
        await connection.head(PATIENT_S)
        assert await eventually(lambda: connection.closed)
        if connection._chunks:
            assert await connection.chunk(PATIENT_S) == BODY
        with pytest.raises(UpstreamBrokenError):
            await connection.chunk(PATIENT_S)


async def test_a_slow_reader_holds_a_bounded_part_of_an_endless_answer() -> None:
    """Reading pauses at the bound, TCP pushes back on the backend, and reading on resumes it."""
    sent = 0

    async def script(wire: Wire) -> None:
        nonlocal sent
        await wire.read_request()
        await wire.send(OK + b"\r\n")
        while True:
            wire.writer.write(b"x" * 65_536)
            await wire.writer.drain()
            sent += 65_536

    async with connected(script) as connection:
        await connection.head(PATIENT_S)
        assert await eventually(lambda: connection._paused)
        held = connection._buffered_bytes
        for _ in range(20):
            await asyncio.sleep(0.002)
        assert connection._buffered_bytes == held
        assert held <= module._PAUSE_AT_BYTES + 256 * 1024
        stuck_at = sent
        read = 0
        while read <= stuck_at:
            read += len(await connection.chunk(PATIENT_S))
        assert read > stuck_at


async def test_an_answer_left_unread_at_the_pause_is_not_reused() -> None:
    """A connection whose reading is paused would never hear its next answer: it is given up."""
    body = b"x" * (module._PAUSE_AT_BYTES + 1)

    async with connected(says(OK + b"content-length: %d\r\n\r\n" % len(body) + body)) as connection:
        await connection.head(PATIENT_S)
        assert await eventually(lambda: connection.complete)
        assert connection._paused
        assert not connection.reusable
        assert await read_on(connection) == body
        assert connection.reusable


async def test_reading_what_is_left_after_an_abort_is_safe() -> None:
    """A paused connection that was aborted gives up its bytes and does not touch its transport."""
    body = b"x" * (module._PAUSE_AT_BYTES + 1)
    async with connected(says(OK + b"content-length: %d\r\n\r\n" % (2 * len(body)) + body)) as connection:
        await connection.head(PATIENT_S)
        assert await eventually(lambda: connection._paused)
        connection.abort()
        assert len(await connection.chunk(PATIENT_S)) > 0
        with pytest.raises(UpstreamBrokenError):
            await connection.chunk(PATIENT_S)


async def test_bytes_before_any_request_close_the_connection() -> None:
    """A backend that speaks first does not speak HTTP."""

    async def script(wire: Wire) -> None:
        await wire.send(b"220 smtp ready\r\n")
        await wire.read_all()

    loop = asyncio.get_running_loop()
    async with raw_server(script) as peer:
        _, connection = await loop.create_connection(lambda: Connection(loop), "127.0.0.1", peer.port)
        assert await eventually(lambda: connection.closed)
        connection.abort()


async def test_a_lost_connection_says_so_at_once() -> None:
    """Waiting on a connection that has gone without a failure of its own ends at once."""
    async with connected(says(OK + b"content-length: 0\r\n\r\n", then="close")) as connection:
        await connection.head(PATIENT_S)
        assert await eventually(lambda: connection._transport is None)
        connection._head_done = False
        with pytest.raises(UpstreamBrokenError, match="closed the connection"):
            await connection.head(PATIENT_S)
        connection.abort()
