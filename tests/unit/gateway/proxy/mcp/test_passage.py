"""What is not decided passes: bytes as they are, lists as far as they may be seen, and honest endings."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.auth.keys import Principal
from gateway.kernel.errors import UpstreamBrokenError
from gateway.pipeline.pins import Pins
from gateway.proxy.mcp.passage import Deadlines, Passage, Way
from gateway.wire.mcp.revision import Era
from tests.kit.fakeclient import FakeClient
from tests.kit.gateways import eventually
from tests.kit.mcp import tool
from tests.unit.gateway.pipeline.conftest import desk, policies  # noqa: F401 - fixtures

STREAM = ((b"content-type", b"text/event-stream"),)
JSON = ((b"content-type", b"application/json"),)


class Raw:
    """A server's answer, piece by piece."""

    status, framed, buffered = 200, True, False

    def __init__(self, headers: Any, *pieces: bytes, whole: bool = True) -> None:
        self.headers, self.pieces, self.complete = headers, list(pieces), whole
        self.silent = asyncio.Event()

    async def chunk(self, timeout_s: float) -> bytes:
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if piece == b"wait":
            await self.silent.wait()
        return piece


class Backend:
    """A server that gives one answer."""

    def __init__(self, raw: Raw) -> None:
        self.raw, self.sent, self.released = raw, [], 0

    async def send(self, *args: Any, **kwargs: Any) -> Raw:
        self.sent.append(args)
        return self.raw

    def release(self, raw: Raw) -> None:
        self.released += 1


class Client(FakeClient):
    """Notes what it is sent, piece by piece."""

    method = "POST"
    begun = False
    ended: Any = None

    async def send_head(self, status: int, headers: Any, *, length: Any, flush: bool) -> None:
        self.begun, self.status, self.sent_headers = True, status, dict(headers)
        self.length = length

    async def send_chunk(self, data: bytes) -> None:
        self.answered += data

    async def send_end(self) -> None:
        self.ended = "whole"

    def break_off(self, last_event: bytes | None) -> None:
        self.ended = last_event or "reset"


@pytest.fixture
def passage(desk) -> Passage:  # noqa: F811 - the fixture
    """A passage under the built-in policies, on an empty store."""
    return Passage(desk.live, Pins(desk.store, desk.clock, desk.ids), Deadlines(1, 1, 1))


async def go(passage: Passage, server: Any, raw: Raw, **members: Any) -> tuple[Client, Backend]:
    """Pass one message on."""
    backend, client = Backend(raw), Client("/mcp/shop", b"{}", {"origin": "x", "accept": "y"})
    way: dict[str, Any] = {"body": b"{}", "rpc_id": 1, **members}
    principal = Principal("bot", None)
    await passage.go(Way(replace(server, backend=backend), principal, client, Era.SESSIONS, **way))  # type: ignore[arg-type]
    return client, backend


async def test_bytes_pass_as_they_are(passage, server) -> None:
    """To the one path of the server, with the request's id, and the connection is given back."""
    client, backend = await go(passage, server, Raw(JSON, b"a", b"b"))
    assert (client.answered, client.ended, backend.released) == (b"ab", "whole", 1)
    [(method, path, headers, body)] = backend.sent
    assert (method, path, body) == ("POST", "/mcp", b"{}")
    assert set(headers) == {(b"accept", b"y"), (b"x-request-id", b"r-1")}


@pytest.mark.parametrize(
    ("raw", "members", "ending"),
    [
        (lambda: Raw(JSON, b"a", whole=False), {}, "reset"),
        (lambda: Raw(STREAM, b"data: {}\n\n", whole=False), {}, b'"code":502'),
        (lambda: Raw(STREAM, b"data: {}\n\n", whole=False), {"rpc_id": None}, b": the stream ends here"),
        (lambda: Raw(STREAM, b"data: [\n\n"), {"lists": True}, b'"code":502'),
    ],
)
async def test_what_breaks_off_says_so(passage, server, raw: Any, members: Any, ending: Any) -> None:
    """By a reset, by the error of its request, or by the end of a stream that nobody awaits anything of."""
    client, backend = await go(passage, server, raw(), **members)
    assert client.ended == ending or ending in client.ended
    assert backend.released == 1


async def test_a_list_is_cut_where_it_is_the_awaited_one(passage, server) -> None:
    """Under the policies of the package nothing of this server may be called: nothing is hidden for it."""
    listed = orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool("a"), {"name": "\x1b"}]}})
    client, _ = await go(passage, server, Raw(JSON, listed[:9], listed[9:]), lists=True)
    shown = orjson.loads(client.answered)["result"]["tools"]
    assert [one["name"] for one in shown] == ["a"]
    assert client.length == len(client.answered)
    other = orjson.dumps({"jsonrpc": "2.0", "id": 2, "result": {"tools": [{"name": "\x1b"}]}})
    client, _ = await go(passage, server, Raw(JSON, other), lists=True)
    assert client.answered == other


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_a_changed_event_takes_its_last_byte_with_it(passage, server, size: int) -> None:
    """Wherever the stream is cut, also within a CR LF, the same bytes come out."""
    listed = orjson.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool("a"), {"name": "\x1b"}]}})
    sent = b'data: {"x":1}\r\n\r\nid: 5\r\ndata: ' + listed + b"\r\n\r\n: after\r\n\r\n"
    raw = Raw(STREAM, *(sent[at : at + size] for at in range(0, len(sent), size)))
    client, _ = await go(passage, server, raw, lists=True)
    first, last = client.answered.split(b"id: 5\n")
    assert first == b'data: {"x":1}\r\n\r\n'
    data, after = last.split(b"\n\n", 1)
    assert [one["name"] for one in orjson.loads(data.removeprefix(b"data: "))["result"]["tools"]] == ["a"]
    assert after == b": after\r\n\r\n"


async def test_a_list_over_the_bound_is_not_shown(passage, server) -> None:
    """It would have to be held."""
    with pytest.raises(UpstreamBrokenError, match="over"):
        await go(passage, server, Raw(JSON, *[b"x" * (1 << 20)] * 9), lists=True)


async def test_a_stop_ends_who_listens_and_nobody_else(passage, server) -> None:
    """A stream ends in order; a cancelled request of another kind is cancelled."""
    listening, asking = Raw(STREAM, b": hi\n\n", b"wait"), Raw(JSON, b"wait")
    loop = asyncio.get_running_loop()
    one = loop.create_task(go(passage, server, listening, listens=True, rpc_id=None))
    other = loop.create_task(go(passage, server, asking))
    assert await eventually(lambda: not listening.pieces and not asking.pieces)
    passage.end_listening()
    client, backend = await one
    assert (client.ended, backend.released) == (b": the stream ends here\n\n", 1)
    assert not other.done()
    other.cancel()
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_a_client_that_leaves_is_no_stop(passage, server) -> None:
    """Its cancellation goes on to whoever waits for it."""
    raw = Raw(STREAM, b": hi\n\n", b"wait")
    task = asyncio.get_running_loop().create_task(go(passage, server, raw, listens=True))
    assert await eventually(lambda: not raw.pieces)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
