"""One request and its answer, over real sockets."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.errors import MalformedRequestError, NotFoundError
from gateway.listener.client import HttpClient
from tests.kit.gateways import eventually
from tests.kit.listeners import ask, get, listening
from tests.kit.rawpeer import post, raw_client


async def test_the_parts_of_a_request_are_as_they_came() -> None:
    """Method, path and query are those of the target, nothing decoded in the path, nothing normalised."""
    seen: list[object] = []

    async def look(client: HttpClient) -> None:
        seen.extend([client.method, client.path, client.query, client.connected])
        seen.extend(
            [client.header("X-Twice"), [pair for pair in client.raw_headers if pair[0] == b"X-Twice"]]
        )
        await client.send(200, b"{}")

    async with listening(handlers={"/v1/*": look}) as (_, port):
        data = post("/v1/a%2fb?x=1&y=%20z&x=&=", b"", "X-Twice: 1", "X-Twice: 2")
        assert (await ask(port, data)).status == 200
    assert seen == [
        "POST", "/v1/a%2fb", [("x", "1"), ("y", " z"), ("x", ""), ("", "")], True,
        "1", [(b"X-Twice", b"1"), (b"X-Twice", b"2")],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "media", ["application/json; charset=utf-8", "Application/JSON", "application/x+json", ""]
)
async def test_json_media_types_are_read(media: str) -> None:
    """JSON in its spellings is read, and so is a body without a type."""
    async with listening() as (_, port):
        assert (await ask(port, post("/v1/echo", b"[1]", media=media))).body == b"[1]"


@pytest.mark.parametrize("coding", ["identity", ""])
async def test_no_coding_is_read(coding: str) -> None:
    """`identity` is no coding."""
    async with listening() as (_, port):
        assert (await ask(port, post("/v1/echo", b"[1]", f"content-encoding: {coding}"))).status == 200


async def test_a_chunked_body_is_read_whole() -> None:
    """Chunks, with an extension and a trailer, give the body they frame."""
    async with listening() as (_, port):
        data = get("/v1/echo", "transfer-encoding: chunked", method="POST")
        answer = await ask(port, data + b"2;a=b\r\n[1\r\n1\r\n]\r\n0\r\nx-late: 1\r\n\r\n")
    assert answer.body == b"[1]"


async def test_a_body_in_pieces_is_read_whole() -> None:
    """A body that comes byte by byte is the body."""
    async with listening() as (_, port), raw_client(port) as client:
        for byte in post("/v1/echo", b"[1,2]"):
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.read_answer()).body == b"[1,2]"


async def test_a_body_that_was_refused_before_it_ended_is_bounded() -> None:
    """Chunks over the bound are refused while they still come, and the connection ends."""
    async with listening() as (_, port), raw_client(port) as client:
        await client.send(get("/v1/echo", "transfer-encoding: chunked", method="POST"))
        for _piece in range(2):
            await client.send(b"300\r\n" + bytes(0x300) + b"\r\n")
            await asyncio.sleep(0.01)
        assert (await client.read_answer()).status == 413


async def test_framing_that_breaks_late_is_malformed() -> None:
    """A chunk that goes wrong after good ones is a 400 that says so, and ends the connection."""
    errors: list[Exception] = []

    async def read(client: HttpClient) -> None:
        try:
            await client.read()
        except MalformedRequestError as error:
            errors.append(error)
            raise

    async with listening(handlers={"/v1/read": read}) as (_, port), raw_client(port) as client:
        await client.send(get("/v1/read", "transfer-encoding: chunked", method="POST") + b"2\r\n[1\r\n")
        await asyncio.sleep(0.02)
        await client.send(b"zz\r\n")
        answer = await client.read_answer()
        assert await client.closed()
    assert (answer.status, len(errors)) == (400, 1)


async def test_an_answer_without_length_is_chunked() -> None:
    """Pieces are sent as chunks, the head flushed first where it is asked for."""
    released = asyncio.Event()

    async def pieces(client: HttpClient) -> None:
        await client.send_head(200, [("x-a", "1")], length=None, flush=True)
        await released.wait()
        for piece in (b"one", b"two"):
            await client.send_chunk(piece)
        await client.send_end()

    async with listening(handlers={"/v1/x": pieces}) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/x", b"") * 2)
        head = await client.reader.readuntil(b"\r\n\r\n")
        released.set()
        rest = await client.reader.readuntil(b"0\r\n\r\n")
        assert (await client.read_answer()).body == b"onetwo"
    assert b"transfer-encoding: chunked\r\n" in head
    assert rest == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_http_1_0_gets_no_chunks() -> None:
    """For HTTP/1.0 the close is the end of an answer without length."""

    async def pieces(client: HttpClient) -> None:
        await client.send_head(200, [], length=None, flush=False)
        await client.send_chunk(b"one")
        await client.send_end()

    async with listening(handlers={"/v1/x": pieces}) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/x", b"").replace(b"HTTP/1.1", b"HTTP/1.0"))
        text = await client.read_all()
    assert text.endswith(b"connection: close\r\n\r\none")
    assert b"chunked" not in text


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body_carry_no_length(status: int) -> None:
    """204 and 304 go out without `content-length` and without a body, whatever they are given."""

    async def bodiless(client: HttpClient) -> None:
        await client.send_head(status, [], length=0, flush=False)
        await client.send_end()

    async with listening(handlers={"/v1/x": bodiless}) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/x", b"") + get("/hello"))
        first, second = await client.read_answer(), await client.read_answer()
    assert (first.status, first.header("content-length"), first.header("transfer-encoding")) == (
        status,
        None,
        None,
    )
    assert second.status == 200


async def test_a_status_without_a_name_is_sent_as_it_is() -> None:
    """A backend's unusual status keeps its number."""

    async def teapot(client: HttpClient) -> None:
        await client.send(418, b"short", media="text/plain")

    async with listening(handlers={"/v1/x": teapot}) as (_, port):
        answer = await ask(port, post("/v1/x", b""))
    assert (answer.start, answer.header("content-type")) == ("HTTP/1.1 418 Status", "text/plain")


async def test_an_error_keeps_the_headers_it_is_given() -> None:
    """Given headers replace the request id that an error would carry by itself."""

    async def missing(client: HttpClient) -> None:
        await client.send_error(
            NotFoundError("gone"), headers=[("x-request-id", "r"), ("x-lumyn-verdict", "TRUST")]
        )

    async with listening(handlers={"/v1/x": missing}) as (_, port):
        answer = await ask(port, post("/v1/x", b""))
    assert (answer.status, answer.header("x-request-id"), answer.header("x-lumyn-verdict")) == (
        404,
        "r",
        "TRUST",
    )


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("last", [b"data: {}\n\n", None])
async def test_breaking_off_cannot_be_taken_for_whole(last: bytes | None, *, chunks: bool) -> None:
    """A stream ends with its last event, everything else with a reset."""

    async def half(client: HttpClient) -> None:
        await client.send_head(200, [], length=None if chunks else 100, flush=False)
        await client.send_chunk(b"half")
        client.break_off(last)

    async with listening(handlers={"/v1/x": half}) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/x", b""))
        if chunks and last is not None:
            answer = await client.read_answer()
            assert (answer.body, answer.complete) == (b"half" + last, True)
        else:
            assert not (await client.read_all()).endswith(b"0\r\n\r\n")
        assert await client.closed()


async def test_a_stream_broken_off_before_its_first_byte_still_tells() -> None:
    """The head that waited for a first piece goes out with the last event."""

    async def nothing(client: HttpClient) -> None:
        await client.send_head(200, [], length=None, flush=False)
        client.break_off(b"data: {}\n\n")

    async with listening(handlers={"/v1/x": nothing}) as (_, port):
        answer = await ask(port, post("/v1/x", b""))
    assert (answer.status, answer.body) == (200, b"data: {}\n\n")


async def test_breaking_off_towards_nobody_is_quiet() -> None:
    """A client that has gone is told nothing, and that is no fault."""
    done = asyncio.Event()

    async def late(client: HttpClient) -> None:
        transport = client._request.transport
        assert transport is not None
        try:
            transport.abort()
            client.break_off(b"data: {}\n\n")
            await asyncio.sleep(5)
        finally:
            assert not client.connected
            client.break_off(b"data: {}\n\n")
            done.set()

    async with listening(handlers={"/v1/x": late}) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/x", b""))
        await asyncio.wait_for(done.wait(), 2)
        assert await client.read_all() == b""


async def test_a_client_that_does_not_read_is_given_up() -> None:
    """A piece that waits longer than the bound for its reader raises ConnectionError."""
    gone: list[Exception] = []

    async def endless(client: HttpClient) -> None:
        await client.send_head(200, [], length=None, flush=False)
        try:
            while True:
                await client.send_chunk(bytes(65_536))
        except ConnectionError as error:
            gone.append(error)
            raise

    guarded = listening(stall_s=0.1, handlers={"/v1/x": endless})
    async with guarded as (listener, port), raw_client(port, receive_buffer_bytes=4096) as client:
        await client.send(post("/v1/x", b""))
        assert await eventually(lambda: gone and not listener.in_flight)
    assert isinstance(gone[0], ConnectionAbortedError)


async def test_sending_to_a_client_that_has_gone_raises() -> None:
    """A write after the client left raises ConnectionError, which the exchange takes for its fate."""
    caught: list[Exception] = []

    async def late(client: HttpClient) -> None:
        await client.send_head(200, [], length=None, flush=False)
        client.break_off(None)
        try:
            await client.send_chunk(b"late")
        except ConnectionError as error:
            caught.append(error)

    async with listening(handlers={"/v1/x": late}) as (_, port), raw_client(port) as client:
        await client.send(post("/v1/x", b""))
        await client.read_all()
    assert len(caught) == 1
