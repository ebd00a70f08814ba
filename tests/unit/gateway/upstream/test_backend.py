"""A backend: what is sent, and what becomes of its connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gateway.kernel.errors import (
    InvalidConfigError,
    UpstreamBrokenError,
    UpstreamClosedError,
    UpstreamError,
    UpstreamOpenError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from gateway.upstream.backend import HttpBackend
from gateway.upstream.breaker import Breaker, BreakerSettings
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


@dataclass
class Seconds:
    """A clock that a test moves."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def watched(port: int, *, refuses: bool = False, failures: int = 2) -> tuple[HttpBackend, Seconds]:
    """A backend whose breaker opens at the second failure in a row, and its clock."""
    now = Seconds()
    breaker = Breaker(BreakerSettings(failures=failures, open_s=5.0), lambda: 0.0)
    pool = ConnectionPool(Target("127.0.0.1", port, tls=False, prefix=""), connect_s=0.5)
    return HttpBackend("b", pool, breaker=breaker, refuses=refuses, now=now), now


async def ask(backend: HttpBackend, *, first_byte_s: float = 5.0) -> int | str:
    """One request to its end; return the status, or the name of the error."""
    try:
        answer = await backend.send("GET", "/x", (), b"", first_byte_s=first_byte_s)
    except UpstreamError as error:
        return type(error).__name__
    try:
        while await answer.chunk(0.1):
            pass
    except UpstreamError:
        pass
    finally:
        backend.release(answer)
    return answer.status


def status(code: int) -> bytes:
    """A whole answer of this status."""
    return b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % code


RESULTS = {
    "answers": (ANSWER, 200, "answered", True),
    "redirects": (status(302), 302, "answered", True),
    "says 404": (status(404), 404, "client_error", True),
    "says 429": (status(429), 429, "throttled", True),
    "says 500": (status(500), 500, "server_error", True),
    "says 502": (status(502), 502, "server_error", False),
    "says 503": (status(503), 503, "server_error", False),
    "says 504": (status(504), 504, "server_error", False),
    "speaks no HTTP": (b"SSH-2.0\r\n", "UpstreamBrokenError", "broken", False),
    "says nothing": (b"", "UpstreamTimeoutError", "timeout", False),
    "breaks off": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", 200, "answered", False),
}


@pytest.mark.parametrize(("says", "came_to", "result", "well"), RESULTS.values(), ids=RESULTS.keys())
async def test_what_an_attempt_came_to(says: bytes, came_to: int | str, result: str, *, well: bool) -> None:
    """Each result is counted under its name, and only what a sick backend does counts against it."""
    async with raw_server(Peer(says).converse) as server:
        backend, _ = watched(server.port)
        for _ in range(2):
            assert await ask(backend, first_byte_s=0.1) == came_to
        assert {name: count for name, count in backend.results.items() if count} == {result: 2}
        assert backend.breaker.closed is well
        await backend.close()


async def test_who_closes_or_is_not_there_is_told_apart() -> None:
    """A connection that is closed before the answer may have had the request; a refused one has not."""

    async def close(wire: Wire) -> None:
        await wire.read_request()

    async with raw_server(close) as server:
        backend, _ = watched(server.port)
        assert await ask(backend) == "UpstreamClosedError"
    assert await ask(backend) == "UpstreamUnreachableError"
    assert (backend.results["broken"], backend.results["unreachable"]) == (1, 1)
    assert not backend.breaker.closed
    assert (UpstreamClosedError.sent, UpstreamUnreachableError.sent) == (True, False)


async def test_a_full_pool_says_nothing_of_the_backend() -> None:
    """Our own bound is no fault of the backend's."""
    async with raw_server(Peer().converse) as server:
        pool = ConnectionPool(Target("127.0.0.1", server.port, tls=False, prefix=""), connections_max=1)
        backend = HttpBackend("b", pool, breaker=Breaker(BreakerSettings(failures=1), lambda: 0.0))
        held = await backend.send("GET", "/x", (), b"", first_byte_s=5)
        assert await ask(backend) == "UpstreamBusyError"
        assert (backend.results["busy"], backend.breaker.closed) == (1, True)
        backend.release(held)
        await backend.close()


async def test_an_open_breaker_refuses_or_only_advises() -> None:
    """Told to refuse it turns requests away until its time; else a request that comes is sent."""
    peer = Peer(status(503))
    async with raw_server(peer.converse) as server:
        for refuses in (False, True):
            peer.seen.clear()
            backend, now = watched(server.port, refuses=refuses)
            for _ in range(4):
                await ask(backend)
            assert len(peer.seen) == (2 if refuses else 4)
            if refuses:
                with pytest.raises(UpstreamOpenError) as caught:
                    await backend.send("GET", "/x", (), b"", first_byte_s=5)
                assert (caught.value.retry_after_s, backend.results["open"]) == (5.0, 3)
            now.now_s += 5.0
            peer.says = ANSWER
            assert await ask(backend) == 200
            assert backend.breaker.closed
            peer.says = status(503)
            await backend.close()


async def test_a_client_that_leaves_a_probe_frees_its_place() -> None:
    """The next request is the probe."""
    peer = Peer(status(503))
    async with raw_server(peer.converse) as server:
        backend, now = watched(server.port, refuses=True)
        await ask(backend)
        await ask(backend)
        now.now_s += 5.0
        peer.says = b""
        probe = asyncio.get_running_loop().create_task(ask(backend))
        assert await eventually(lambda: len(peer.seen) == 3)
        assert await ask(backend) == "UpstreamOpenError"
        probe.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await probe
        peer.says = ANSWER
        assert (await ask(backend), backend.results["left"]) == (200, 1)
        await backend.close()


async def test_breakers_say_in_the_log_when_they_move(caplog: pytest.LogCaptureFixture) -> None:
    """A line when a backend is taken out, with the reason and the time, and one when it is back."""
    peer = Peer(status(503))
    with caplog.at_level("INFO", logger="lumyn"):
        async with raw_server(peer.converse) as server:
            backend, now = watched(server.port)
            for _ in range(3):
                await ask(backend)
            now.now_s += 5.0
            peer.says = ANSWER
            await ask(backend)
            await backend.close()
    assert [(record.message, record.facts) for record in caplog.records] == [  # type: ignore[attr-defined]
        ("backend is out", {"backend": "b", "reason": "it answers 503", "for_s": 5.0}),
        ("backend is back", {"backend": "b"}),
    ]
