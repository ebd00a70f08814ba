"""A backend: what is sent, and what becomes of its connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from gateway.kernel.errors import InvalidConfigError, UpstreamBrokenError, UpstreamTimeoutError
from gateway.upstream.backend import HttpBackend
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import Target
from tests.kit.gateways import eventually
from tests.kit.rawpeer import Message, Wire, raw_server

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEADERS = ((b"X-A", b"1"), (b"Authorization", b"Bearer client"), (b"X-Api-Key", b"client"), (b"x-a", b"2"))


class Peer:
    """A backend's other end: keeps what it is sent and says one thing."""

    def __init__(self, says: bytes = ANSWER) -> None:
        self.says = says
        self.seen: list[Message] = []
        self.left = 0

    async def converse(self, wire: Wire) -> None:
        try:
            while True:
                self.seen.append(await wire.read_request())
                await wire.send(self.says)
        finally:
            self.left += 1


@contextlib.asynccontextmanager
async def backend_of(peer: Peer, api_key: str | None = None, prefix: str = "") -> AsyncIterator[HttpBackend]:
    """A backend whose other end is `peer`."""
    async with raw_server(peer.converse) as server:
        pool = ConnectionPool(Target("127.0.0.1", server.port, tls=False, prefix=prefix))
        backend = HttpBackend("b", pool, api_key=api_key)
        try:
            yield backend
        finally:
            await backend.close()


async def test_a_request_is_framed_by_us_alone() -> None:
    """One host, one length, no compression, the headers in order, the body as it is."""
    peer = Peer()
    async with backend_of(peer, prefix="/openai") as backend:
        answer = await backend.send("POST", "/v1/x", HEADERS, b"body", first_byte_s=5)
        assert (answer.status, backend.in_flight) == (200, 1)
        assert await answer.chunk(5) == b"ok"
        backend.release(answer)
        assert backend.in_flight == 0
    [message] = peer.seen
    assert (message.start, message.body) == ("POST /openai/v1/x HTTP/1.1", b"body")
    assert [name for name, _ in message.headers] == [
        "host", "content-length", "accept-encoding", "x-a", "authorization", "x-api-key", "x-a",
    ]  # fmt: skip
    assert (message.header("content-length"), message.header("accept-encoding")) == ("4", "identity")


async def test_the_backends_key_replaces_the_clients_credentials() -> None:
    """With a key of its own, a backend never sees what the client proved itself with."""
    peer = Peer()
    async with backend_of(peer, api_key="ours") as backend:
        backend.release(await backend.send("POST", "/v1/x", HEADERS, b"", first_byte_s=5))
    [message] = peer.seen
    assert [pair for pair in message.headers if "client" in pair[1]] == []
    assert [value for name, value in message.headers if name == "authorization"] == ["Bearer ours"]


@pytest.mark.parametrize("api_key", ["", " ", "key\n", "key\r\nx-evil: 1", "k\x00", "schlüssel", "\u2028"])
def test_a_key_that_no_header_can_hold_is_refused_at_the_start(api_key: str) -> None:
    """A secret with a newline at its end would break every request: it stops the gateway instead."""
    pool = ConnectionPool(Target("h", 80, tls=False, prefix=""))
    with pytest.raises(InvalidConfigError, match=r"backends\.b\.api_key") as caught:
        HttpBackend("b", pool, api_key=api_key)
    assert "evil" not in caught.value.message


@pytest.mark.parametrize(
    ("says", "error"),
    [(b"garbage\r\n\r\n", UpstreamBrokenError), (b"", UpstreamTimeoutError)],
    ids=["garbage", "silence"],
)
async def test_a_failed_request_gives_its_connection_up(says: bytes, error: type[Exception]) -> None:
    """After an error the connection is closed and no longer counted."""
    peer = Peer(says)
    async with backend_of(peer) as backend:
        with pytest.raises(error):
            await backend.send("POST", "/v1/x", (), b"", first_byte_s=0.05)
        assert backend.in_flight == 0
        assert await eventually(lambda: peer.left)


async def test_a_cancelled_request_aborts_its_backend_at_once() -> None:
    """When the client leaves before the first byte, the backend's connection ends."""
    peer = Peer(b"")
    async with backend_of(peer) as backend:
        sending = asyncio.get_running_loop().create_task(backend.send("POST", "/x", (), b"", first_byte_s=5))
        assert await eventually(lambda: peer.seen)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert backend.in_flight == 0
        assert await eventually(lambda: peer.left)


async def test_an_answer_released_unread_closes_its_connection() -> None:
    """An answer that is not whole is not left for the next request to find."""
    peer = Peer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    async with backend_of(peer) as backend:
        backend.release(await backend.send("POST", "/x", (), b"", first_byte_s=5))
        assert await eventually(lambda: peer.left)
