"""A server's answer on its way: whole events, up to the response, and asked questions written anew."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import MCP_EVENT_BYTES_MAX
from gateway.kernel.errors import UpstreamBrokenError
from gateway.proxy.mcp.answers import CallAnswer, CallBackend, check_status, is_stream

STREAM = ((b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Content-Length", b"9"))
JSON = ((b"content-type", b"application/json"), (b"content-length", b"9"), (b"set-cookie", b"a=b"))
RESPONSE = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
ASKS = b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required"}}'


class Raw:
    """An answer whose pieces a test gives."""

    status, complete, framed, buffered = 200, True, True, False

    def __init__(self, headers: Any, *pieces: bytes) -> None:
        self.headers = headers
        self.pieces = [piece for piece in pieces if piece]

    async def chunk(self, timeout_s: float) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


async def read_all(answer: CallAnswer) -> bytes:
    """Relay an answer to its end."""
    body = b""
    while piece := await answer.chunk(1):
        body += piece
    return body


EVENTS = b': ping\n\nid: 1\ndata:\n\ndata: {"method":"notifications/x"}\r\n\r\ndata: ' + RESPONSE + b"\n\n"


@given(st.lists(st.integers(1, 40), max_size=20), st.booleans())
@settings(derandomize=True, max_examples=100, deadline=None)
async def test_any_split_of_a_stream_is_relayed_alike(sizes: list[int], rewrites: bool) -> None:
    """Byte for byte, whatever would be written anew if it were asked for."""
    pieces, rest = [], EVENTS
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    answer = CallAnswer(Raw(STREAM, *pieces, rest), 1, str.upper if rewrites else None)
    assert await read_all(answer) == EVENTS
    assert answer.watch.done
    assert answer.resumable


async def test_nothing_behind_the_response_is_waited_for() -> None:
    """The client has what it asked for; what follows is dropped, in the same piece and in the next."""
    raw = Raw(STREAM, EVENTS + b"data: more\n\n", b"data: later\n\n")
    assert await read_all(CallAnswer(raw, 1, None)) == EVENTS
    assert raw.pieces == [b"data: later\n\n"]


async def test_half_an_event_is_not_relayed() -> None:
    """It would be read together with the error that ends the stream."""
    answer = CallAnswer(Raw(STREAM, b'data: 1\n\ndata: {"half'), 1, None)
    assert await read_all(answer) == b"data: 1\n\n"
    assert not answer.watch.done


async def test_an_event_over_the_bound_breaks_off() -> None:
    """It is held no longer."""
    answer = CallAnswer(Raw(STREAM, b"data: " + b"x" * MCP_EVENT_BYTES_MAX), 1, None)
    with pytest.raises(UpstreamBrokenError):
        await read_all(answer)


@pytest.mark.parametrize("body", [RESPONSE, ASKS])
@pytest.mark.parametrize("headers", [STREAM, JSON])
async def test_only_a_question_is_written_anew(headers: Any, body: bytes) -> None:
    """And only where a call is to be carried on; its length is then another."""
    sent = b"data: " + body + b"\n\n" if headers is STREAM else body
    for rewrite in (None, lambda text: text.replace("input_required", "changed")):
        answer = CallAnswer(Raw(headers, sent[:9], sent[9:]), 1, rewrite)
        relayed = await read_all(answer)
        changed = rewrite is not None and body is ASKS
        assert (b"changed" in relayed) is changed
        assert changed or relayed == sent
        assert answer.watch.asks_input is (body is ASKS and answer.watch.done)
        lengths = [value for name, value in answer.headers if name.lower() == b"content-length"]
        assert bool(lengths) is (headers is JSON and rewrite is None)


async def test_json_is_relayed_as_it_comes_and_held_where_it_may_change() -> None:
    """Piece by piece without a rewriter; bounded with one."""
    plain = CallAnswer(Raw(JSON, RESPONSE[:5], RESPONSE[5:]), 1, None)
    assert await plain.chunk(1) == RESPONSE[:5]
    half = b"x" * (MCP_EVENT_BYTES_MAX // 2 + 1)
    with pytest.raises(UpstreamBrokenError, match="over"):
        await read_all(CallAnswer(Raw(JSON, half, half), 1, str.upper))
    assert await read_all(CallAnswer(Raw(JSON), 1, str.upper)) == b""


async def test_what_the_gateway_and_the_server_say_to_each_other_stays_there() -> None:
    """A cookie is not the client's; the rest of the answer is the server's own."""
    answer = CallAnswer(Raw(JSON, RESPONSE), 1, None)
    assert [name for name, _ in answer.headers] == [b"content-type", b"content-length"]
    assert (answer.status, answer.complete, answer.framed, answer.buffered) == (200, True, True, False)


@pytest.mark.parametrize(
    ("status", "fits"), [(200, True), (202, True), (404, True), (401, False), (407, False), (302, False)]
)
async def test_answers_that_concern_the_gateway_alone(server, status: int, fits: bool) -> None:
    """Its credential, and where the configuration leads; the connection is given back."""
    released = []

    class Backend:
        """Answers with a status."""

        async def send(self, *args: Any, **kwargs: Any) -> Raw:
            raw = Raw(JSON, RESPONSE)
            raw.status = status
            return raw

        def release(self, raw: Any) -> None:
            released.append(raw)

    from dataclasses import replace

    backend = CallBackend(replace(server, backend=Backend()), 1, None)
    if fits:
        answer = await backend.send("POST", "/mcp", (), b"", first_byte_s=1)
        assert backend.answer is answer
        backend.release(answer)
    else:
        with pytest.raises(UpstreamBrokenError):
            await backend.send("POST", "/mcp", (), b"", first_byte_s=1)
        with pytest.raises(UpstreamBrokenError):
            check_status(status)
    assert len(released) == 1


def test_streams_are_told_by_their_type() -> None:
    """In any case of letters."""
    assert is_stream(STREAM)
    assert not is_stream(JSON)
    assert orjson.loads(RESPONSE)["id"] == 1
