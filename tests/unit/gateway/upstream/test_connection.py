"""One connection against a peer whose every byte is scripted: whole answers, broken ones, the next one."""

from __future__ import annotations

import asyncio

import pytest

from gateway.kernel.bounds import UPSTREAM_HEADER_BYTES_MAX
from gateway.kernel.errors import UpstreamBrokenError
from gateway.upstream import connection as module
from tests.kit.gateways import eventually
from tests.kit.rawpeer import Wire, chunked
from tests.kit.scripted import BODY, OK, PATIENT_S, REQUEST, connected, read_on, says

WHOLE = {
    "length": OK + b"content-length: 8\r\n\r\n" + BODY,
    "chunks": OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(BODY[:3], BODY[3:]),
    "chunks in capitals": OK + b"Transfer-Encoding: Chunked\r\n\r\n" + chunked(BODY),
    "trailers": OK + b"transfer-encoding: chunked\r\n\r\n8\r\n" + BODY + b"\r\n0\r\nx-late: 1\r\n\r\n",
    "chunk extension": OK + b"transfer-encoding: chunked\r\n\r\n8;x=y\r\n" + BODY + b"\r\n0\r\n\r\n",
    "continue first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 8\r\n\r\n" + BODY,
    "hints first": b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK + b"content-length: 8\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE.keys())
@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_whole_answer_is_whole_however_it_is_cut(answer: bytes, size: int) -> None:
    """Any segments of a whole answer give its status, its body, its end and a reusable connection."""
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]

    async def script(wire: Wire) -> None:
        await wire.read_request()
        for piece in pieces:
            await wire.send(piece)
            await asyncio.sleep(0)
        await wire.read_all()

    async with connected(script) as connection:
        await connection.head(PATIENT_S)
        assert connection.status == 200
        assert await read_on(connection) == BODY
        assert (connection.complete, connection.framed, connection.reusable) == (True, True, True)
        assert connection.buffered
        assert b"x-late" not in [name for name, _ in connection.headers]
        assert b"link" not in [name for name, _ in connection.headers]


BROKEN_HEADS = {
    "garbage": b"\x00\x01\x02 hello\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "status over 599": b"HTTP/1.1 999 No\r\n\r\n",
    "status under 100": b"HTTP/1.1 000 No\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "obs-fold": OK + b"x-a: 1\r\n 2\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": OK + b"x-a: 1\x002\r\ncontent-length: 0\r\n\r\n",
    "bare CR in a value": OK + b"x-a: 1\r2\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": OK + b"content-length : 0\r\n\r\n",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n",
    "length and chunks": OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
    "signed length": OK + b"content-length: +1\r\n\r\n",
    "endless length": OK + b"content-length: 99999999999999999999\r\n\r\n",
    "a coding nobody asked for": OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
    "a coding without an end": OK + b"transfer-encoding: gzip\r\n\r\n",
    "101": b"HTTP/1.1 101 Go\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "a flood of interim answers": b"HTTP/1.1 102 Wait\r\n\r\n" * 9,
    "endless header": OK + b"x-a: " + b"a" * 2 * UPSTREAM_HEADER_BYTES_MAX,
    "endless headers": OK + b"x-a: 1\r\n" * UPSTREAM_HEADER_BYTES_MAX,
    "a head over the bound in one piece": OK + b"x-a: " + b"a" * UPSTREAM_HEADER_BYTES_MAX + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN_HEADS.values(), ids=BROKEN_HEADS.keys())
async def test_a_head_that_is_no_head_is_refused_and_the_connection_closed(answer: bytes) -> None:
    """What is not HTTP/1.1, ambiguous or over a bound breaks the answer at its head."""
    async with connected(says(answer)) as connection:
        with pytest.raises(UpstreamBrokenError):
            await connection.head(PATIENT_S)
        assert not connection.reusable
        assert connection.closed


async def test_eight_interim_answers_are_borne() -> None:
    """As many interim answers as the bound allows, and then the real one."""
    flood = b"HTTP/1.1 102 Wait\r\n\r\n" * module._INTERIM_MAX
    async with connected(says(flood, OK + b"content-length: 0\r\n\r\n")) as connection:
        await connection.head(PATIENT_S)
        assert (connection.status, await connection.chunk(PATIENT_S)) == (200, b"")


@pytest.mark.parametrize("then", ["close", "reset"])
async def test_an_end_before_the_head_is_an_error(then: str) -> None:
    """A backend that closes or resets without an answer has broken it, also in the middle of the head."""
    for start in (b"", b"HTTP/1.1 200 OK\r\ncontent-le"):
        async with connected(says(start, then=then)) as connection:
            with pytest.raises(UpstreamBrokenError, match="before it answered"):
                await connection.head(PATIENT_S)


CUT_BODIES = {
    "length": OK + b"content-length: 100\r\n\r\n" + BODY,
    "between chunks": OK + b"transfer-encoding: chunked\r\n\r\n8\r\n" + BODY + b"\r\n",
    "in a chunk": OK + b"transfer-encoding: chunked\r\n\r\n9\r\n" + BODY,
    "before the last CRLF": OK + b"transfer-encoding: chunked\r\n\r\n8\r\n" + BODY + b"\r\n0\r\n",
}


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("answer", CUT_BODIES.values(), ids=CUT_BODIES.keys())
async def test_a_cut_body_is_told_from_a_whole_one(answer: bytes, then: str) -> None:
    """Where the framing declares an end, a close before it is an error and never an end."""
    async with connected(says(answer, then=then)) as connection:
        await connection.head(PATIENT_S)
        with pytest.raises(UpstreamBrokenError):
            await read_on(connection)
        assert not connection.complete


BROKEN_BODIES = {
    "no chunk size": b"hello\r\n",
    "negative chunk size": b"-1\r\n",
    "bare LF after a size": b"8\n" + BODY + b"\n0\n\n",
    "no CRLF after a chunk": b"8\r\n" + BODY + b"XX0\r\n\r\n",
}


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
async def test_broken_chunk_framing_is_an_error(body: bytes) -> None:
    """Chunks that are none break the answer."""
    async with connected(says(OK + b"transfer-encoding: chunked\r\n\r\n", body)) as connection:
        await connection.head(PATIENT_S)
        with pytest.raises(UpstreamBrokenError, match="not HTTP"):
            await read_on(connection)


async def test_without_a_length_the_close_is_the_end_but_not_completeness() -> None:
    """Where nothing declares the end, the body ends with the connection and `complete` stays False."""
    async with connected(says(OK + b"\r\n" + BODY, then="close")) as connection:
        await connection.head(PATIENT_S)
        assert await read_on(connection) == BODY
        assert (connection.complete, connection.framed, connection.reusable) == (False, False, False)


async def test_without_a_length_a_reset_is_an_error() -> None:
    """A reset is no end, even where a close would be one."""
    async with connected(says(OK + b"\r\n" + BODY, then="reset")) as connection:
        await connection.head(PATIENT_S)
        with pytest.raises(UpstreamBrokenError):
            await read_on(connection)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 2\r\n\r\nok",
        OK + b"content-length: 2\r\nconnection: close\r\n\r\nok",
        OK + b"transfer-encoding: chunked\r\n\r\n" + chunked(b"ok"),
    ],
)
@pytest.mark.parametrize("apart", [False, True], ids=["one segment", "two segments"])
async def test_bytes_behind_an_answer_never_join_it(answer: bytes, *, apart: bool) -> None:
    """A second answer that nobody asked for changes nothing of the first, and spoils the connection."""
    extra = b"HTTP/1.1 500 Evil\r\nx-evil: 1\r\ncontent-length: 4\r\n\r\nevil"
    async with connected(says(answer, extra) if apart else says(answer + extra)) as connection:
        await connection.head(PATIENT_S)
        body = await read_on(connection)
        if apart:
            assert await eventually(lambda: connection.closed)
        assert (connection.status, body, connection.complete) == (200, b"ok", True)
        assert b"x-evil" not in [name for name, _ in connection.headers]
        assert not connection.reusable


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body_end_with_their_head(status: int) -> None:
    """204 and 304 are whole after their head, whatever length they name."""
    head = b"HTTP/1.1 %d X\r\n\r\n" % status
    async with connected(says(head)) as connection:
        await connection.head(PATIENT_S)
        assert await connection.chunk(PATIENT_S) == b""
        assert (connection.complete, connection.reusable) == (True, True)


async def test_a_body_behind_a_204_spoils_the_connection_only() -> None:
    """Bytes behind a 204 belong to nothing: the answer stands, the connection does not."""
    async with connected(says(b"HTTP/1.1 204 X\r\ncontent-length: 2\r\n\r\nok")) as connection:
        await connection.head(PATIENT_S)
        assert (connection.status, await read_on(connection)) == (204, b"")
        assert not connection.reusable


async def test_a_connection_is_used_again_and_again() -> None:
    """Answers on one connection do not mix: each request starts from nothing."""

    async def script(wire: Wire) -> None:
        for count in range(3):
            await wire.read_request()
            await wire.send(OK + b"x-count: %d\r\ncontent-length: 1\r\n\r\n%d" % (count, count))
        await wire.read_all()

    async with connected(script) as connection:
        for count in range(3):
            if count:
                connection.send(REQUEST, b"")
                assert not connection.complete
            await connection.head(PATIENT_S)
            assert await read_on(connection) == b"%d" % count
            assert (b"x-count", b"%d" % count) in connection.headers
            assert connection.reusable


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
async def test_a_connection_that_will_close_is_not_reused(head: bytes) -> None:
    """`connection: close` and HTTP/1.0 say that this answer is the last."""
    async with connected(says(head + b"content-length: 0\r\n\r\n")) as connection:
        await connection.head(PATIENT_S)
        assert (await read_on(connection), connection.complete) == (b"", True)
        assert not connection.reusable


async def test_a_large_body_is_sent_whole() -> None:
    """A request body over the size that is copied into one write arrives as it is."""
    body = bytes(range(256)) * 4096
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(OK + b"content-length: 0\r\n\r\n")
        seen.append((await wire.read_request()).body)
        await wire.send(OK + b"content-length: 0\r\n\r\n")

    async with connected(script) as connection:
        await connection.head(PATIENT_S)
        connection.send(b"POST / HTTP/1.1\r\nhost: b\r\ncontent-length: %d\r\n\r\n" % len(body), body)
        await connection.head(PATIENT_S)
    assert seen == [body]
