"""Two readers of one byte stream must not see two different requests.

Each payload goes end to end. Whatever the gateway makes of it, these hold: every request that reached
the backend has an accepted answer and a decision of its own, the backend's bytes parse as exactly what
was counted (read by h11 as well as by our raw peer), and neither `/admin` nor hop-by-hop names get through.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h11
import pytest
import pytest_asyncio

from gateway.wire.headers import HOP_BY_HOP
from tests.kit.gateways import RunningGateway, chat_body, running_gateway
from tests.kit.rawpeer import Wire, post, raw_client, raw_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = b"/v1/chat/completions"
BODY = chat_body()
LENGTH = b"%d" % len(BODY)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
INNER = post(PATH.decode(), chat_body(content="smuggled"))
START = b"POST " + PATH + b" HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def request(*lines: bytes, body: bytes = BODY) -> bytes:
    """A chat request whose framing the lines declare."""
    return START + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


CL = b"content-length: " + LENGTH
TE = b"transfer-encoding: chunked"

REFUSED = {
    "CL.TE": request(CL, TE, body=CHUNKED + INNER),
    "TE.CL": request(TE, CL, body=CHUNKED + INNER),
    "CL.0": request(b"content-length: 0", TE, body=CHUNKED),
    "two lengths": request(CL, b"content-length: 0", body=BODY + INNER),
    "two equal lengths": request(CL, CL),
    "a list of lengths": request(b"content-length: " + LENGTH + b", " + LENGTH),
    "signed length": request(b"content-length: +" + LENGTH),
    "negative length": request(b"content-length: -1"),
    "hex length": request(b"content-length: 0x10"),
    "length with a space inside": request(b"content-length: 1 0"),
    "length with an underscore": request(b"content-length: 1_0"),
    "empty length": request(b"content-length:"),
    "forty digits": request(b"content-length: " + b"9" * 40),
    "length in other digits": request("content-length: ١٢".encode()),
    "underscore length": request(CL, b"content_length: 0", body=BODY + INNER),
    "underscore coding": request(CL, b"transfer_encoding: chunked", body=BODY),
    "underscore host": request(CL, b"hos_t: x", b"x_forwarded: 1", b"content_type: text/plain"),
    "TE chunked twice": request(TE, TE, body=CHUNKED),
    "TE chunked, chunked": request(b"transfer-encoding: chunked, chunked", body=CHUNKED),
    "TE chunked, identity": request(b"transfer-encoding: chunked, identity", body=CHUNKED),
    "TE identity": request(b"transfer-encoding: identity", CL),
    "TE gzip": request(b"transfer-encoding: gzip", CL),
    "TE xchunked": request(b"transfer-encoding: xchunked", CL),
    "TE quoted": request(b'transfer-encoding: "chunked"', CL),
    "TE with a vertical tab": request(b"transfer-encoding: \x0bchunked", CL, body=CHUNKED),
    "TE with a NUL": request(b"transfer-encoding: chunked\x00", CL, body=CHUNKED),
    "TE on HTTP/1.0": request(TE, body=CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "space before the colon": request(b"transfer-encoding : chunked", CL, body=CHUNKED),
    "tab before the colon": request(b"transfer-encoding\t: chunked", CL, body=CHUNKED),
    "space before the name": request(CL, b" transfer-encoding: chunked", body=CHUNKED),
    "folded coding": request(CL, b"x-a: 1\r\n transfer-encoding: chunked", body=CHUNKED),
    "folded by a tab": request(CL, b"x-a: 1\r\n\ttransfer-encoding: chunked", body=CHUNKED),
    "bare CR before a header": request(CL, b"x-a: 1\rtransfer-encoding: chunked", body=CHUNKED),
    "bare LF between headers": request(CL, b"x-a: 1\ntransfer-encoding: chunked", body=CHUNKED),
    "bare LF everywhere": request(CL).replace(b"\r\n", b"\n"),
    "no colon": request(CL, b"transfer-encoding chunked", body=CHUNKED),
    "empty name": request(CL, b": chunked"),
    "NUL in a name": request(CL, b"x\x00a: 1"),
    "8-bit name": request(CL, b"x-\xe4: 1"),
    "header before the request line": b"x-a: 1\r\n" + request(CL),
    "chunk size with a sign": request(TE, body=b"+" + CHUNKED),
    "chunk size with 0x": request(TE, body=b"0x" + CHUNKED),
    "chunk size with a space": request(TE, body=b" " + CHUNKED),
    "chunk size over 64 bits": request(TE, body=b"10000000000000000" + CHUNKED),
    "chunk size ended by LF": request(TE, body=CHUNKED.replace(b"\r\n", b"\n", 1)),
    "chunk without CRLF": request(TE, body=b"%x\r\n%bXX0\r\n\r\n" % (len(BODY), BODY)),
    "chunk longer than it says": request(TE, body=b"%x\r\n%bX\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "chunk extension with a bare LF": request(TE, body=b"%x;a=\nb\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "chunk extension with a bare CR": request(TE, body=b"%x;a=\rb\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "length in the trailer": request(TE, body=CHUNKED[:-2] + b"content-length: 9\r\n\r\n"),
    "host in the trailer": request(TE, body=CHUNKED[:-2] + b"host: evil\r\nauthorization: evil\r\n\r\n"),
    "two hosts": request(CL, b"host: other"),
    "no host": request(CL).replace(b"host: g\r\n", b""),
    "absolute form": request(CL).replace(b" /v1", b" http://other/v1", 1),
    "absolute form of our own": request(CL).replace(b" /v1", b" http://g/v1", 1),
    "scheme-relative target": request(CL).replace(b" /v1", b" //other/v1", 1),
    "target with a space": request(CL).replace(b" HTTP/", b" x HTTP/", 1),
    "target with a NUL": request(CL).replace(b" HTTP/", b"\x00 HTTP/", 1),
    "target with a CR": request(CL).replace(b" HTTP/", b"\r HTTP/", 1),
    "target with dots": request(CL).replace(b"/v1/", b"/v1/../v1/", 1),
    "target in percents": request(CL).replace(b"/chat/", b"%2fchat%2f", 1),
    "HTTP/2.0": request(CL).replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/0.9": b"POST " + PATH + b"\r\n",
    "HTTP/1.10": request(CL).replace(b"HTTP/1.1", b"HTTP/1.10"),
    "lower-case version": request(CL).replace(b"HTTP/1.1", b"http/1.1"),
    "preface of h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + request(CL),
    "CONNECT": b"CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\n\r\n" + INNER,
    "GET with a body": request(b"content-length: %d" % len(INNER), body=INNER).replace(b"POST", b"GET", 1),
    "HEAD with a body": request(b"content-length: %d" % len(INNER), body=INNER).replace(b"POST", b"HEAD", 1),
    "TRACE": b"TRACE " + PATH + b" HTTP/1.1\r\nhost: g\r\n\r\n",
    "admin on the data port": b"GET /admin/decisions HTTP/1.1\r\nhost: g\r\n\r\n",
}  # fmt: skip
"""Payloads of which nothing may reach the backend."""

ONCE = {
    "plain": request(CL),
    "chunked": request(TE, body=CHUNKED),
    "chunked in capitals": request(b"Transfer-Encoding: CHUNKED", body=CHUNKED),
    "trailing space in a value": request(CL + b"  "),
    "chunk size with zeros": request(TE, body=b"000" + CHUNKED),
    "chunk extension": request(TE, body=b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "coding named by Connection": request(CL, b"connection: transfer-encoding, content-length"),
    "h2c upgrade": request(CL, b"connection: upgrade, http2-settings", b"upgrade: h2c", b"http2-settings: A"),
    "websocket upgrade": request(CL, b"connection: upgrade", b"upgrade: websocket", b"sec-websocket-key: x"),
    "TE trailers": request(CL, b"te: trailers", b"trailer: x-a"),
    "proxy headers": request(CL, b"proxy-connection: x", b"proxy-authorization: x", b"keep-alive: 9"),
    "all control headers": request(CL, b"x-gateway-inference-objective: evil", b"X-LLM-D-x: evil",
                                   b"x-slo-ttft-ms: 1", b"x-lumyn-verdict: evil", b"epp-profile: evil",
                                   b"x-data-parallel-rank: 1"),
    "its own length hidden": request(CL, b"connection: close, x-secret", b"x-secret: evil"),
    "expect": request(CL, b"expect: 100-continue"),
}  # fmt: skip
"""Payloads that are one request, whatever else they look like."""


@dataclass(slots=True)
class Stage:
    """A gateway, and every byte that its backend was sent."""

    gateway: RunningGateway
    connections: list[bytearray] = field(default_factory=list)

    def requests(self) -> list[tuple[h11.Request, bytes]]:
        """What the backend was sent, as h11 reads it. Raises where it cannot."""
        return [pair for sent in self.connections for pair in as_h11_reads(bytes(sent))]


def as_h11_reads(sent: bytes) -> list[tuple[h11.Request, bytes]]:
    """Parse a connection's bytes with h11: requests and bodies."""
    found: list[tuple[h11.Request, bytes]] = []
    if not sent:
        return found
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(sent)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            found.append((event, b""))
        elif isinstance(event, h11.Data):
            found[-1] = (found[-1][0], found[-1][1] + bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
        else:
            assert event is h11.NEED_DATA
            return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One gateway for the module."""
    connections: list[bytearray] = []

    async def record(wire: Wire) -> None:
        sent = bytearray()
        connections.append(sent)
        while piece := await wire.reader.read(65_536):
            sent += piece
            # Whole requests only: an answer a request, so that a smuggled one would be answered too.
            for _ in range(
                sent.count(b"HTTP/1.1\r\n") - sent.count(b"HTTP/1.1\r\n", 0, len(sent) - len(piece))
            ):
                await wire.send(ANSWER)

    limits = {"header_deadline_s": 0.3, "body_deadline_s": 0.3, "upstream_keepalive_s": 60}
    directory = tmp_path_factory.mktemp("smuggling")
    async with (
        raw_server(record) as backend,
        running_gateway(directory, backend_url=backend.url, limits=limits) as gateway,
    ):
        yield Stage(gateway, connections)


@pytest.fixture
def stage(module_stage: Stage) -> Stage:
    """The module's gateway, with what was sent so far forgotten."""
    for sent in module_stage.connections:
        sent.clear()
    return module_stage


async def converse(port: int, data: bytes) -> bytes:
    """Send bytes as they are; return all that comes back until the gateway closes or falls silent."""
    text = b""
    async with raw_client(port) as client:
        with contextlib.suppress(ConnectionError, TimeoutError):
            await client.send(data)
            async with asyncio.timeout(0.15):
                while piece := await client.reader.read(65_536):
                    text += piece
    return text


def answers(text: bytes) -> list[bytes]:
    """The status codes of the final answers in a byte stream."""
    return re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", text)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
async def test_an_ambiguous_request_never_reaches_the_backend(stage: Stage, data: bytes) -> None:
    """Nothing of it is forwarded, nothing behind it is read as a request, and no answer accepts it."""
    text = await converse(stage.gateway.port, data)
    assert stage.requests() == []
    assert all(status.startswith((b"4", b"5")) for status in answers(text))


@pytest.mark.parametrize("data", ONCE.values(), ids=ONCE.keys())
async def test_one_request_is_one_upstream_request(stage: Stage, data: bytes) -> None:
    """It is answered once, forwarded once, with our framing, and without hop-by-hop or control headers."""
    text = await converse(stage.gateway.port, data)
    assert answers(text) == [b"200"]
    [(forwarded, body)] = stage.requests()
    assert (forwarded.method, forwarded.target, body) == (b"POST", PATH, BODY)
    names = [name for name, _ in forwarded.headers]
    assert len(names) == len(set(names))
    assert HOP_BY_HOP.isdisjoint(names)
    assert names.count(b"content-length") == 1
    assert not any(
        b"evil" in value or name.startswith((b"x-slo", b"x-lumyn")) for name, value in forwarded.headers
    )


@pytest.mark.parametrize("first", ONCE.values(), ids=ONCE.keys())
async def test_what_follows_is_a_request_of_its_own_or_nothing(stage: Stage, first: bytes) -> None:
    """Behind any accepted request, another is either answered and forwarded once more, or not at all."""
    before = len(await stage.gateway.decisions(limit=500))
    text = await converse(stage.gateway.port, first + INNER)
    forwarded = stage.requests()
    assert answers(text).count(b"200") == len(forwarded)
    assert len(await stage.gateway.decisions(limit=500)) - before == len(forwarded)
    bodies = [body for _, body in forwarded]
    # llhttp refuses data behind `connection: close` with everything that came in the same segment.
    assert bodies in ([], [BODY], [BODY, chat_body(content="smuggled")])


async def test_a_payload_cut_anywhere_is_the_same_request(stage: Stage) -> None:
    """TCP segments do not matter: a request and its shadow in two segments are the same two requests."""
    data = request(TE, body=CHUNKED) + INNER
    for at in range(10, len(data), 37):
        for sent in stage.connections:
            sent.clear()
        async with raw_client(stage.gateway.port) as client:
            await client.send(data[:at])
            await asyncio.sleep(0.001)
            await client.send(data[at:])
            assert [(await client.read_answer()).status for _ in range(2)] == [200, 200]
        assert [body for _, body in stage.requests()] == [BODY, chat_body(content="smuggled")]
