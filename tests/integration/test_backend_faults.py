"""What a backend can do wrong, through the whole gateway: the client is told, the fate is recorded, once.

One gateway serves the module; each case gives its backend another script. A case is a behaviour and
whether the client asked for a stream; its expectation is what an honest gateway makes of it.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson
import psutil
import pytest
import pytest_asyncio

from tests.kit.gateways import (
    RunningGateway,
    chat_body,
    eventually,
    open_descriptors,
    other_tasks,
    running_gateway,
)
from tests.kit.rawpeer import Message, RawServer, Wire, chunked, post, raw_client, raw_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = b"content-type: application/json\r\n"
SSE = b"content-type: text/event-stream\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
ANSWER = b'{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = OK + SSE + CHUNKED + b"\r\n"
FIRST_BYTE_S = 0.15
IDLE_S = 0.15
RESET, STAY, CLOSE = "reset", "stay", "close"


def length(body: bytes, declared: int | None = None) -> bytes:
    """A whole JSON answer, its length declared right or wrong."""
    return OK + JSON + b"content-length: %d\r\n\r\n" % (declared or len(body)) + body


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(frozen=True, slots=True)
class Case:
    """What the backend does, and what must come of it."""

    name: str
    says: bytes
    then: str = CLOSE
    status: int = 200
    fate: str = "cut"
    error: str | None = "UPSTREAM_BROKEN"
    whole: bool = False
    """The client's answer is whole by its framing."""
    done: bool = False
    """The client sees `[DONE]`."""
    told: bool = False
    """The client sees an error event inside its stream."""
    usage: bool = False
    extra: dict[str, object] = field(default_factory=dict)


def refused(
    name: str, says: bytes, then: str = CLOSE, *, status: int = 502, error: str = "UPSTREAM_BROKEN"
) -> Case:
    """A case in which no head can be relayed: an error answer, the fate `failed`."""
    return Case(name, says, then, status=status, fate="failed", error=error, whole=True)


def good(name: str, says: bytes, then: str = STAY, *, usage: bool = True, done: bool = False) -> Case:
    """A case in which nothing is wrong with the answer itself."""
    return Case(name, says, then, fate="complete", error=None, whole=True, usage=usage, done=done)


def passed_on(name: str, says: bytes, status: int) -> Case:
    """A case in which the backend says no, in order: its words pass, the fate is `failed`."""
    return Case(name, says, STAY, status=status, fate="failed", error=None, whole=True)


def plain_error(status: int, *headers: bytes) -> bytes:
    """An error answer of a backend."""
    body = b'{"error":{"message":"no"}}'
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d No\r\n%bcontent-length: %d\r\n\r\n" % (status, JSON + lines, len(body)) + body


EITHER = [
    refused("resets at once", b"", RESET),
    refused("closes at once", b""),
    refused("resets in its head", b"HTTP/1.1 200 OK\r\ncont", RESET),
    refused("closes in its head", b"HTTP/1.1 200 OK\r\ncont"),
    refused("says nothing", b"", STAY, status=504, error="UPSTREAM_TIMEOUT"),
    refused("stalls in its head", b"HTTP/1.1 200 OK\r\n", STAY, status=504, error="UPSTREAM_TIMEOUT"),
    refused("stalls after 100", b"HTTP/1.1 100 Continue\r\n\r\n", STAY, status=504, error="UPSTREAM_TIMEOUT"),
    refused("speaks another protocol", b"SSH-2.0-x\r\n", STAY),
    refused("speaks garbage", bytes(range(256)), STAY),
    refused("floods with 1xx", b"HTTP/1.1 102 Wait\r\n\r\n" * 100, STAY),
    refused("switches protocols", b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", STAY),
    refused("never ends a header", OK + b"x-a: " + b"a" * 200_000, STAY),
    refused("never ends its headers", OK + b"x-a: 1\r\n" * 20_000, STAY),
    refused("uses bare LF", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", STAY),
    refused("folds a header", OK + b"x-a: 1\r\n b: 2\r\ncontent-length: 2\r\n\r\nok", STAY),
    refused("hides a NUL", OK + b"x-a: 1\x00\r\ncontent-length: 2\r\n\r\nok", STAY),
    refused("declares two lengths", OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nokk", STAY),
    refused("mixes length and chunks", OK + b"content-length: 2\r\n" + CHUNKED + b"\r\n0\r\n\r\n", STAY),
    refused("compresses the framing", OK + b"transfer-encoding: gzip, chunked\r\n\r\n" + chunked(b"x"), STAY),
    passed_on("says 500", plain_error(500), 500),
    passed_on("says 503", plain_error(503), 503),
    passed_on("says 429 with a silly retry-after", plain_error(429, b"retry-after: -99e9 soon"), 429),
    passed_on("says 404", plain_error(404), 404),
    Case("redirects", b"HTTP/1.1 302 Found\r\nlocation: http://[::1]:1/\r\ncontent-length: 0\r\n\r\n", STAY,
         status=302, fate="complete", error=None, whole=True),
    Case("says 204 with a body", b"HTTP/1.1 204 No\r\ncontent-length: 2\r\n\r\nok", STAY,
         status=204, fate="complete", error=None, whole=True),
]  # fmt: skip
PLAIN = [
    good("answers", length(ANSWER)),
    good("answers in chunks", OK + JSON + CHUNKED + b"\r\n" + chunked(ANSWER[:9], ANSWER[9:])),
    good("answers and closes", OK + JSON + b"connection: close\r\n\r\n" + ANSWER, CLOSE),
    good("answers twice", length(ANSWER) + length(b'{"evil":1}')),
    good("sends a hint first", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + length(ANSWER)),
    good("compresses unasked", OK + JSON + b"content-encoding: gzip\r\n" + b"content-length: %d\r\n\r\n"
         % len(gzip.compress(ANSWER)) + gzip.compress(ANSWER), usage=False),
    Case("declares too much and closes", length(ANSWER, 1000)),
    Case("declares too much and resets", length(ANSWER, 1000), RESET),
    Case("declares too much and stalls", length(ANSWER, 1000), STAY, error="UPSTREAM_TIMEOUT"),
    Case("declares too little", length(ANSWER, 20), STAY, fate="complete", error=None, whole=True),
    Case("cuts a chunk", OK + JSON + CHUNKED + b"\r\n5a\r\n" + ANSWER[:20]),
    Case("omits the last chunk", OK + JSON + CHUNKED + b"\r\n" + chunk(ANSWER)),
    Case("breaks its chunks", OK + JSON + CHUNKED + b"\r\n" + chunk(ANSWER) + b"zz\r\n", STAY),
    Case("closes in an answer without length", OK + JSON + b"\r\n" + ANSWER[:30]),
    Case("resets in an answer without length", OK + JSON + b"\r\n" + ANSWER[:30], RESET),
    Case("stalls after its head", OK + JSON + b"content-length: 9\r\n\r\n", STAY, error="UPSTREAM_TIMEOUT"),
]  # fmt: skip
STREAMED = [
    good("streams", STREAM + chunked(EVENT, USAGE, DONE), done=True),
    good("streams in crumbs", STREAM + chunked(*[bytes([byte]) for byte in EVENT + USAGE + DONE]), done=True),
    good("streams without framing", OK + SSE + b"\r\n" + EVENT + USAGE + DONE, CLOSE, done=True),
    good("streams with comments", STREAM + chunked(b": ping\n\n", EVENT, USAGE, b"id: 4\n", DONE), done=True),
    Case("cuts mid-chunk", STREAM + chunk(EVENT) + b"40\r\ndata: {", told=True, whole=True),
    Case("cuts mid-event", STREAM + chunk(EVENT) + chunk(b"data: {"), told=True, whole=True),
    Case("cuts between events", STREAM + chunk(EVENT), told=True, whole=True),
    Case("resets between events", STREAM + chunk(EVENT), RESET, told=True, whole=True),
    Case("omits its end mark", STREAM + chunked(EVENT, USAGE), STAY, told=True, whole=True, usage=True),
    Case("closes without framing or end mark", OK + SSE + b"\r\n" + EVENT, told=True, whole=True),
    Case("stalls mid-stream", STREAM + chunk(EVENT), STAY, error="UPSTREAM_TIMEOUT", told=True, whole=True),
    Case("stalls before its first event", STREAM, STAY, error="UPSTREAM_TIMEOUT", told=True, whole=True),
    Case("breaks its chunks", STREAM + chunk(EVENT) + b"zz\r\n", STAY, told=True, whole=True),
    Case("reports an error inside", STREAM + chunked(EVENT, b'data: {"error":{"message":"oom"}}\n\n'), STAY,
         fate="failed", error=None, whole=True, told=True),
    Case("streams a length and stops short", OK + SSE + b"content-length: 999\r\n\r\n" + EVENT),
    Case("sends events that are no JSON", STREAM + chunked(b"data: {oops\n\n", b"data: \xff\n\n", DONE), STAY,
         fate="complete", error=None, whole=True, done=True),
    Case("counts beyond all numbers", STREAM + chunked(
            b'data: {"usage":{"prompt_tokens":18446744073709551615,"completion_tokens":-1}}\n\n', DONE), STAY,
         fate="complete", error=None, whole=True, done=True),
]  # fmt: skip


@dataclass(slots=True)
class Stage:
    """A gateway, its backend, and the requests that the backend has seen."""

    gateway: RunningGateway
    backend: RawServer
    seen: list[Message] = field(default_factory=list)

    says: bytes = b""
    then: str = CLOSE

    def follow(self, says: bytes, then: str) -> None:
        """Let the backend say this to every request, also on connections that are open already."""
        self.says, self.then = says, then
        self.backend.script = self.converse
        self.seen.clear()

    async def converse(self, wire: Wire) -> None:
        """Answer requests until one is answered by an end."""
        while True:
            self.seen.append(await wire.read_request())
            await wire.send(self.says)
            if self.then == RESET:
                await asyncio.sleep(0.005)  # let what was said arrive: a reset overtakes it
                wire.reset()
            if self.then != STAY:
                return


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One gateway for the module, with short deadlines towards its backend."""

    async def nothing(_: Wire) -> None:
        return

    limits = {"first_byte_s": FIRST_BYTE_S, "idle_s": IDLE_S}
    async with (
        raw_server(nothing) as backend,
        running_gateway(tmp_path_factory.mktemp("faults"), backend_url=backend.url, limits=limits) as gateway,
    ):
        yield Stage(gateway, backend)


CASES = [
    *[pytest.param(case, False, id=f"plain-{case.name}") for case in EITHER + PLAIN],
    *[pytest.param(case, True, id=f"streamed-{case.name}") for case in EITHER + STREAMED],
]


@pytest.mark.parametrize(("case", "stream"), CASES)
async def test_a_backend_fault_has_an_honest_end(stage: Stage, case: Case, *, stream: bool) -> None:
    """Each behaviour gives the client an honest end, one right fate, one request, and no rest."""
    stage.follow(case.says, case.then)
    tasks, descriptors = len(other_tasks()), open_descriptors()
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", chat_body(stream=stream)))
        answer = await client.read_answer()
    [outcome] = await stage.gateway.outcomes()

    assert answer.status == case.status
    assert answer.complete == case.whole
    assert (b"[DONE]" in answer.body) == case.done
    assert (b'"error"' in answer.body) == (case.told or answer.status >= 400)
    assert (outcome["fate"], outcome.get("error")) == (case.fate, case.error)
    if case.usage:
        assert outcome["usage"] == {"prompt_tokens": 3, "completion_tokens": 4}
    assert len(stage.seen) == 1
    if answer.status in {502, 504}:
        error = orjson.loads(answer.body)["error"]
        assert (error["code"], error["type"]) == (case.error, "server_error")
        assert answer.header("x-should-retry") == "false"
        assert answer.header("x-lumyn-decision-id")
    # One idle connection may stay open towards the backend, and the store opens its readers once.
    assert await eventually(lambda: len(other_tasks()) <= tasks + 1)
    assert await eventually(lambda: open_descriptors() <= descriptors + 2)


async def test_nothing_piles_up_over_many_faults(stage: Stage) -> None:
    """After fifty faults of all kinds there are no more tasks, descriptors or connections than before."""
    stage.follow(STREAM + chunk(EVENT), RESET)
    await one_round(stage)
    tasks, descriptors = len(other_tasks()), open_descriptors()
    for says, then in [(STREAM + chunk(EVENT), RESET), (b"", RESET), (length(ANSWER, 1000), CLOSE)] * 17:
        stage.follow(says, then)
        await one_round(stage)
    assert await eventually(lambda: len(other_tasks()) <= tasks)
    assert await eventually(lambda: open_descriptors() <= descriptors)
    upstreams = stage.gateway.gateway._upstreams
    assert upstreams is not None
    assert upstreams.backends[0].in_flight == 0


async def one_round(stage: Stage) -> None:
    """One request on a connection of its own, to whatever end."""
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", chat_body(stream=True)))
        await client.read_answer()


async def test_a_backend_that_is_not_there_is_unreachable(stage: Stage, tmp_path: object) -> None:
    """A refused connection is a 502 that may be retried, and no request left."""
    async with raw_server(stage.backend.script) as gone:
        port = gone.port
    directory = stage.gateway.database.parent / "unreachable"
    directory.mkdir()
    async with running_gateway(directory, backend_url=f"http://127.0.0.1:{port}") as gateway:
        async with raw_client(gateway.port) as client:
            await client.send(post("/v1/chat/completions", chat_body()))
            answer = await client.read_answer()
        [outcome] = await gateway.outcomes()
    error = orjson.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (502, "UPSTREAM_UNREACHABLE")
    assert str(port) not in error["message"]
    assert (answer.header("x-should-retry"), outcome["fate"]) == ("true", "failed")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_endless_answer_stays_bounded_in_memory(stage: Stage, *, stream: bool) -> None:
    """A backend that never stops does not grow the gateway by 32 MiB while its client reads nothing."""
    written = 0

    async def endless(wire: Wire) -> None:
        nonlocal written
        await wire.read_request()
        await wire.send((OK + SSE if stream else OK + JSON) + b"\r\n")
        while True:
            await wire.send(b"data: " + b"x" * 65_536)
            written += 65_536

    stage.backend.script = endless
    before = psutil.Process().memory_info().rss
    async with raw_client(stage.gateway.port, receive_buffer_bytes=4096) as client:
        await client.send(post("/v1/chat/completions", chat_body(stream=stream)))
        stuck = -1
        while stuck != written or not written:
            stuck = written
            await asyncio.sleep(0.1)
        grown = psutil.Process().memory_info().rss - before
    assert grown < 32 * 1024 * 1024
    [outcome] = await stage.gateway.outcomes()
    assert outcome["fate"] == "client_gone"


async def test_a_gzip_bomb_is_relayed_and_never_unpacked(stage: Stage) -> None:
    """A small body that unpacks to 64 MiB passes as it is."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024), compresslevel=1)
    head = OK + JSON + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    stage.follow(head + bomb, STAY)
    before = psutil.Process().memory_info().rss
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", chat_body()))
        answer = await client.read_answer()
    assert (answer.body == bomb, answer.header("content-encoding")) == (True, "gzip")
    assert psutil.Process().memory_info().rss - before < 32 * 1024 * 1024


async def test_header_values_arrive_as_they_were(stage: Stage) -> None:
    """A header is relayed byte for byte, whatever its characters; control headers are not relayed at all."""
    head = (
        OK + JSON + b"x-utf8: \xe6\x97\xa5\r\nx-latin: caf\xe9\r\nx-lumyn-verdict: EVIL\r\nkeep-alive: 9\r\n"
    )
    stage.follow(head + b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER, STAY)
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", chat_body()))
        answer = await client.read_answer()
    assert b"x-utf8: \xe6\x97\xa5\r\n" in answer.head
    assert b"x-latin: caf\xe9\r\n" in answer.head
    assert [value for name, value in answer.headers if name == "x-lumyn-verdict"] == ["TRUST"]
    assert answer.header("keep-alive") is None
