"""The listener over real sockets: which requests get in, and how the others are told."""

from __future__ import annotations

import asyncio
import re

import orjson
import pytest

from gateway.kernel.errors import SetupError, StoreBusyError
from gateway.kernel.ids import IdSource
from gateway.listener import server as module
from gateway.listener.client import HttpClient
from gateway.listener.router import Router
from gateway.listener.server import Listener
from gateway.wire.errors import v0_error_body
from tests.kit.entries import CountedRandomness, StillClock
from tests.kit.listeners import BODY_BYTES_MAX, ask, get, listening
from tests.kit.rawpeer import Message, post, raw_client


def error_of(answer: Message, *, openai: bool) -> tuple[str, str]:
    """The code and the words of an error, from the shape it must have."""
    body = orjson.loads(answer.body)
    assert answer.header("content-type") == "application/json"
    assert answer.header("x-should-retry") == "false"
    if openai:
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]["code"], body["error"]["message"]
    assert set(body) == {"detail", "reason_code", "pointer", "request_id"}
    assert body["request_id"] == answer.header("x-request-id")
    return body["reason_code"], body["detail"]


REFUSED = {
    "wrong method": ("GET", get("{path}"), 405, "METHOD_NOT_ALLOWED"),
    "unknown path": ("POST", post("{path}/not", b"{}"), 404, "NOT_FOUND"),
    "wrong media type": ("POST", post("{path}", b"a=1", media="application/x-www-form-urlencoded"), 415,
                         "UNSUPPORTED_MEDIA_TYPE"),
    "compressed": ("POST", post("{path}", b"{}", "content-encoding: gzip"), 415, "UNSUPPORTED_MEDIA_TYPE"),
    "too large by its length": ("POST", post("{path}", b"x" * (BODY_BYTES_MAX + 1)), 413, "BODY_TOO_LARGE"),
    "too large in chunks": ("POST", get("{path}", "transfer-encoding: chunked", method="POST")
                            + b"800\r\n" + b"x" * 0x800 + b"\r\n0\r\n\r\n", 413, "BODY_TOO_LARGE"),
    "an imitated length": ("POST", post("{path}", b"{}", "content_length: 9"), 400, "MALFORMED_REQUEST"),
}  # fmt: skip


@pytest.mark.parametrize("openai", [True, False], ids=["v1", "elsewhere"])
@pytest.mark.parametrize(("_", "data", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_refusal_has_the_shape_of_its_path(
    _: str, data: bytes, status: int, code: str, *, openai: bool
) -> None:
    """Under /v1 a refusal is OpenAI's error object, elsewhere ours, with the right status and code."""
    async with listening() as (_listener, port):
        path = b"/v1/echo" if openai else b"/v0/echo"
        answer = await ask(port, data.replace(b"{path}", path))
    assert answer.status == status
    assert error_of(answer, openai=openai)[0] == code


async def test_a_405_names_what_is_allowed() -> None:
    """The `Allow` header of a 405 lists the methods of the path (RFC 9110 15.5.6)."""
    async with listening() as (_, port):
        answer = await ask(port, get("/v1/echo", method="DELETE"))
    assert (answer.status, answer.header("allow")) == (405, "POST")


UNREADABLE = {
    "two hosts": b"POST /v1/echo HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 2\r\n\r\n{}",
    "length and chunks": b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n"
                         b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "absolute form": b"GET http://elsewhere/hello HTTP/1.1\r\nhost: a\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "authority form": b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: elsewhere:443\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nhost: a\r\n\r\n",
    "broken chunk": b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "signed length": b"POST /v1/echo HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\n{}",
    "obs-fold": b"GET /hello HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n 2\r\n\r\n",
    "bare LF": b"GET /hello HTTP/1.1\nhost: a\n\n",
    "NUL": b"GET /hello HTTP/1.1\r\nhost: a\r\nx-a: \x00\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_two_readers_may_read_differently_is_refused(data: bytes) -> None:
    """Ambiguous or broken framing is a 400 with an error object, and names no software."""
    async with listening() as (_, port):
        answer = await ask(port, data)
    assert (answer.status, answer.complete) == (400, True)
    assert answer.start.startswith("HTTP/1.1 ")
    assert orjson.loads(answer.body)
    assert not re.search(rb"(?i)aiohttp|python|server:", answer.head)


async def test_a_broken_chunk_closes_the_connection() -> None:
    """After framing is lost nothing further is read from the connection."""
    async with listening() as (_, port), raw_client(port) as client:
        await client.send(UNREADABLE["broken chunk"])
        assert (await client.read_answer()).header("connection") == "close"
        assert await client.closed()


async def test_requests_follow_each_other_on_one_connection() -> None:
    """Keep-alive and pipelining: answers come in order, with the id each request brought or was given."""
    async with listening() as (_, port), raw_client(port) as client:
        await client.send(b"".join(post("/v1/echo", b"[%d]" % n, f"x-request-id: id-{n}") for n in range(5)))
        answers = [await client.read_answer() for _ in range(5)]
        assert [answer.body for answer in answers] == [b"[%d]" % n for n in range(5)]
        assert [answer.header("x-request-id") for answer in answers] == [f"id-{n}" for n in range(5)]
        await client.send(post("/v1/echo", b"{}", "x-request-id: not safe \x7f"[:-2]))
        assert len((await client.read_answer()).header("x-request-id") or "") == 26


@pytest.mark.parametrize("keep", [False, True])
async def test_an_http_1_0_client_gets_a_plain_answer(*, keep: bool) -> None:
    """HTTP/1.0 gets a length and no chunks, and its connection ends unless it asked to keep it."""
    async with listening() as (_, port), raw_client(port) as client:
        lines = ["connection: keep-alive"] if keep else []
        await client.send(get("/hello", *lines, version="1.0"))
        answer = await client.read_answer()
        assert (answer.status, answer.header("content-length")) == (200, "11")
        assert answer.header("connection") == (None if keep else "close")
        assert await client.closed(within_s=0.1) is not keep


async def test_a_head_request_gets_no_body() -> None:
    """The refusal of a HEAD carries its length and no body, so that the next answer is read as one."""
    async with listening() as (_, port), raw_client(port) as client:
        await client.send(get("/hello", method="HEAD") + get("/hello"))
        first = await client.read_answer(bodiless=True)
        second = await client.read_answer()
    assert (first.status, second.status, second.body) == (405, 200, b'{"hello":1}')


async def test_expect_100_is_answered_before_the_body() -> None:
    """A client that waits for leave gets it, then its answer; one whose body is here needs none."""
    async with listening() as (_, port):
        async with raw_client(port) as client:
            head, _, body = post("/v1/echo", b"{}", "expect: 100-continue").partition(b"\r\n\r\n")
            await client.send(head + b"\r\n\r\n")
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert (await client.read_answer()).body == b"{}"
        answer = await ask(port, post("/v1/echo", b"{}", "expect: 100-continue"))
        assert (answer.status, answer.body) == (200, b"{}")


async def test_expect_100_with_a_body_over_the_bound_is_told_so_at_once() -> None:
    """A client that waits for leave to send too much is refused before it sends a byte."""
    async with listening() as (_, port), raw_client(port) as client:
        lines = ["expect: 100-continue", "content-length: 9999", "content-type: application/json"]
        await client.send(get("/v1/echo", *lines, method="POST"))
        assert (await client.read_answer()).status == 413


async def test_a_slow_body_is_answered_408_and_the_connection_closed() -> None:
    """The body has one deadline from the end of the head."""
    async with listening(body_deadline_s=0.1) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/echo", b"{}")[:-1])
        answer = await client.read_answer()
        assert (answer.status, answer.header("connection")) == (408, "close")
        assert error_of(answer, openai=True) == ("REQUEST_TIMEOUT", "the body did not arrive within 0.1 s")


@pytest.mark.parametrize("start", [b"", b"G", b"GET /hello HTTP/1.1\r\nhost: g\r\n"])
async def test_half_a_head_is_answered_408_and_closed(start: bytes) -> None:
    """A connection that says nothing, or half a head, is told and closed at the deadline."""
    async with listening(header_deadline_s=0.1) as (_, port), raw_client(port) as client:
        await client.send(start)
        answer = await client.read_answer()
        assert (answer.status, error_of(answer, openai=True)[0]) == (408, "REQUEST_TIMEOUT")
        assert await client.closed()


async def test_the_next_head_has_a_deadline_too() -> None:
    """Half a second request on a kept connection is cut like half a first one."""
    async with listening(header_deadline_s=0.1) as (_, port), raw_client(port) as client:
        await client.send(get("/hello"))
        assert (await client.read_answer()).status == 200
        assert not await client.closed(within_s=0.2)  # idle is not half open
        await client.send(b"GET /hel")
        assert (await client.read_answer()).status == 408


async def test_a_handler_that_fails_gives_an_honest_500() -> None:
    """A fault of ours is a 500 without its words, in the shape of the path, and is logged by place."""

    async def broken(client: HttpClient) -> None:
        raise RuntimeError("canary-4711")

    async with listening(handlers={"/v1/broken": broken}) as (_, port):
        answer = await ask(port, post("/v1/broken", b"{}"))
    assert (answer.status, error_of(answer, openai=True)[0]) == (500, "INTERNAL")
    assert b"4711" not in answer.body


async def test_an_error_that_may_be_retried_says_when() -> None:
    """A raised error of the tree becomes its answer, with its headers."""

    async def busy(client: HttpClient) -> None:
        raise StoreBusyError("the queue is full", retry_after_s=0.25)

    async with listening(handlers={"/v1/busy": busy}) as (_, port):
        answer = await ask(port, post("/v1/busy", b"{}"))
    headers = [answer.header(name) for name in ("x-should-retry", "retry-after", "retry-after-ms")]
    assert (answer.status, headers) == (503, ["true", "1", "250"])


async def test_a_fault_after_the_head_breaks_the_answer_off() -> None:
    """Once the head has gone, an error can only end the answer so that it is not taken for whole."""

    async def half(client: HttpClient) -> None:
        await client.send_head(200, [], length=100, flush=True)
        await client.send_chunk(b"half")
        raise StoreBusyError("too late")

    async with listening(handlers={"/v1/half": half}) as (_, port):
        answer = await ask(port, post("/v1/half", b"{}"))
    assert (answer.status, answer.complete) == (200, False)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_has_left_is_no_fault(*, begun: bool) -> None:
    """Answering a client that has gone ends quietly, whether it is seen at the answer or at its error."""
    done = asyncio.Event()

    async def late(client: HttpClient) -> None:
        transport = client._request.transport
        assert transport is not None
        transport.abort()
        try:
            if begun:
                await client.send(200, b"{}")
            raise StoreBusyError("nobody hears this")
        finally:
            done.set()

    async with listening(handlers={"/v1/late": late}) as (listener, port):
        async with raw_client(port) as client:
            await client.send(post("/v1/late", b"{}"))
            await asyncio.wait_for(done.wait(), 2)
            assert await client.read_all() == b""
        assert listener.in_flight == 0
        assert (await ask(port, get("/hello"))).status == 200


async def test_drain_lets_running_requests_end_and_takes_no_new_ones() -> None:
    """During a drain the running request gets its answer, and a new connection is refused."""
    running, finish = asyncio.Event(), asyncio.Event()

    async def slow(client: HttpClient) -> None:
        running.set()
        await finish.wait()
        await client.send(200, b"{}")

    async with listening(handlers={"/v1/slow": slow}) as (listener, port), raw_client(port) as client:
        await client.send(post("/v1/slow", b"{}"))
        await running.wait()
        assert listener.in_flight == 1
        drain = asyncio.get_running_loop().create_task(listener.drain(5))
        await asyncio.sleep(0)
        with pytest.raises(ConnectionRefusedError):
            async with raw_client(port):
                pass
        finish.set()
        assert (await client.read_answer()).status == 200
        await asyncio.wait_for(drain, 2)
        assert await client.closed()


async def test_drain_cuts_what_is_left_at_its_deadline() -> None:
    """A request that does not end is cancelled while its client is still there, and drain returns."""
    running, told = asyncio.Event(), asyncio.Event()
    connected: list[bool] = []

    async def stuck(client: HttpClient) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            connected.append(client.connected)
            client.break_off(None)
            told.set()
            raise

    async with listening(handlers={"/v1/stuck": stuck}) as (listener, port), raw_client(port) as client:
        await client.send(post("/v1/stuck", b"{}"))
        await running.wait()
        async with asyncio.timeout(2):
            await listener.drain(0.05)
        assert (told.is_set(), connected) == (True, [True])
        assert await client.closed()


async def test_a_drain_before_a_start_does_nothing() -> None:
    """A listener that never listened has nothing to drain."""
    router = Router([], shapes={}, fallback=v0_error_body)
    await Listener(router, IdSource(StillClock(), CountedRandomness())).drain(1)


async def test_a_taken_port_is_one_clear_line() -> None:
    """Two listeners on one port: the second says which address and why."""
    async with listening() as (_, port):
        router = Router([], shapes={}, fallback=v0_error_body)
        other = Listener(router, IdSource(StillClock(), CountedRandomness()))
        with pytest.raises(SetupError, match=f"cannot listen on 127.0.0.1:{port}: "):
            await other.start("127.0.0.1", port)


async def test_without_the_c_parser_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pure-Python parser accepts ambiguous requests: the listener refuses to start on it."""
    monkeypatch.setattr(module, "c_parser_loaded", lambda: False)
    with pytest.raises(SetupError, match="C parser"):
        async with listening():
            pass
