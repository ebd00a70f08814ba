"""What a client can do wrong, through the whole gateway: it is bounded, and what it left is given up."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from gateway.kernel.errors import StoreBusyError
from tests.kit.gateways import (
    RunningGateway,
    chat_body,
    eventually,
    open_descriptors,
    other_tasks,
    running_gateway,
)
from tests.kit.rawpeer import Message, Wire, post, raw_client, raw_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HALF = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"half":'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
HEADER_DEADLINE_S = BODY_DEADLINE_S = STALL_S = 0.4
REQUEST = post("/v1/chat/completions", chat_body())


@dataclass(slots=True)
class Backend:
    """Says one thing to every request, then waits for the gateway to leave, and notes when it did."""

    says: bytes = WHOLE
    seen: list[Message] = field(default_factory=list)
    left: int = 0

    async def converse(self, wire: Wire) -> None:
        """Answer requests on one connection."""
        while True:
            self.seen.append(await wire.read_request())
            await wire.send(self.says)
            if self.says != WHOLE:
                await wire.read_all()
                self.left += 1
                return

    def say(self, says: bytes) -> None:
        """Change what is said, and forget what was seen."""
        self.says = says
        self.seen.clear()
        self.left = 0


@dataclass(slots=True)
class Stage:
    """A gateway with short deadlines, and its backend."""

    gateway: RunningGateway
    backend: Backend

    async def serves(self) -> bool:
        """Tell whether a good client gets its answer."""
        self.backend.say(WHOLE)
        async with raw_client(self.gateway.port) as client:
            await client.send(REQUEST)
            return (await client.read_answer()).body == b"{}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One gateway for the module."""
    backend = Backend()
    limits = {
        "header_deadline_s": HEADER_DEADLINE_S,
        "body_deadline_s": BODY_DEADLINE_S,
        "client_stall_s": STALL_S,
        "llm_body_bytes_max": 100_000,
    }
    async with (
        raw_server(backend.converse) as peer,
        running_gateway(tmp_path_factory.mktemp("clients"), backend_url=peer.url, limits=limits) as gateway,
    ):
        yield Stage(gateway, backend)


POINTS = {
    "before the first byte": b"",
    "in an answer": HALF,
    "at a stream's head": STREAM,
    "mid-stream": STREAM + CHUNK,
}


@pytest.mark.parametrize("says", POINTS.values(), ids=POINTS.keys())
@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
async def test_a_client_that_vanishes_aborts_its_backend(stage: Stage, says: bytes, leave: str) -> None:
    """Wherever the client leaves, the backend is left within a second and the fate says who went."""
    stage.backend.say(says)
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", chat_body(stream=says.startswith(STREAM))))
        assert await eventually(lambda: stage.backend.seen)
        if says:
            await client.reader.readuntil(b"\r\n\r\n")
        if says.endswith(CHUNK):
            await client.reader.readuntil(EVENT)
        left_at = time.monotonic()
        if leave == "half-close":
            client.writer.write_eof()
        else:
            getattr(client, leave)()
        assert await eventually(lambda: stage.backend.left)
        assert time.monotonic() - left_at < 1.0
    [outcome] = await stage.gateway.outcomes()
    assert outcome["fate"] == "client_gone"
    assert len(stage.backend.seen) == 1


async def test_a_client_that_leaves_while_its_decision_is_persisted_forwards_nothing(stage: Stage) -> None:
    """The record is kept and its fate with it, but the backend never hears of the request."""
    stage.backend.say(WHOLE)
    before = len(await stage.gateway.decisions(limit=500))
    with contextlib.closing(sqlite3.connect(stage.gateway.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the writer now waits for this lock
        async with raw_client(stage.gateway.port) as client:
            await client.send(REQUEST)
            assert await eventually(lambda: stage.gateway.store.health().queued)
            client.reset()
            assert await eventually(lambda: stage.gateway.gateway._data.in_flight == 0)  # type: ignore[union-attr]
        other.execute("ROLLBACK")
    async with asyncio.timeout(5):
        while len(await stage.gateway.decisions(limit=500)) != before + 1:
            await asyncio.sleep(0.005)
    [outcome] = await stage.gateway.outcomes()
    assert outcome["fate"] == "client_gone"
    assert not stage.backend.seen


async def test_a_request_that_breaks_off_anywhere_is_never_decided(stage: Stage) -> None:
    """A client that leaves at any point of its own request leaves no record and no backend request."""
    stage.backend.say(WHOLE)
    before = len(await stage.gateway.decisions(limit=500))
    tasks, descriptors = len(other_tasks()), open_descriptors()
    for at in range(0, len(REQUEST) - 1, 5):
        async with raw_client(stage.gateway.port) as client:
            await client.send(REQUEST[:at])
            if at % 2:
                client.reset()
    assert len(await stage.gateway.decisions(limit=500)) == before
    assert not stage.backend.seen
    assert await eventually(lambda: len(other_tasks()) <= tasks)
    assert await eventually(lambda: open_descriptors() <= descriptors)


async def test_a_client_that_reads_nothing_is_given_up(stage: Stage) -> None:
    """A client that lets its answer wait past the bound is taken for gone, and its backend is freed."""

    async def endless(wire: Wire) -> None:
        with contextlib.suppress(ConnectionError):
            await wire.read_request()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            while True:
                await wire.send(EVENT * 1000)
        stage.backend.left += 1

    stage.backend.say(WHOLE)
    limits = {"client_stall_s": STALL_S}
    directory = stage.gateway.database.parent / "stalled"
    directory.mkdir()
    async with (
        raw_server(endless) as peer,
        running_gateway(directory, backend_url=peer.url, limits=limits) as gateway,
        raw_client(gateway.port, receive_buffer_bytes=4096) as client,
    ):
        await client.send(REQUEST)
        assert await eventually(lambda: stage.backend.left, within_s=STALL_S + 3)
        [outcome] = await gateway.outcomes()
    assert outcome["fate"] == "client_gone"


async def test_half_open_heads_are_answered_408_and_closed(stage: Stage) -> None:
    """A hundred slow-loris sockets all get a 408 at the deadline, and a good client is served meanwhile."""
    async with contextlib.AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(raw_client(stage.gateway.port)) for _ in range(100)]
        for number, client in enumerate(sockets):
            await client.send(REQUEST[: 3 + number])
        began = time.monotonic()
        assert await stage.serves()
        assert time.monotonic() - began < HEADER_DEADLINE_S
        answers = await asyncio.gather(*(client.read_answer() for client in sockets))
        assert [answer.status for answer in answers] == [408] * 100
        assert await asyncio.gather(*(client.closed() for client in sockets)) == [True] * 100
        assert time.monotonic() - began < HEADER_DEADLINE_S + 2


async def test_dripping_a_head_does_not_move_its_deadline(stage: Stage) -> None:
    """A client that sends a byte now and then is cut at the same deadline."""
    async with raw_client(stage.gateway.port) as client:
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(client.read_answer())
            for byte in REQUEST:
                await client.send(bytes([byte]))
                await asyncio.sleep(HEADER_DEADLINE_S / 20)
                if answer.done():
                    break
        assert answer.result().status == 408


async def test_a_body_that_drips_is_answered_408(stage: Stage) -> None:
    """The whole body has one deadline; then the client is told and the connection closed."""
    stage.backend.say(WHOLE)
    async with raw_client(stage.gateway.port) as client:
        head, _, body = REQUEST.partition(b"\r\n\r\n")
        await client.send(head + b"\r\n\r\n" + body[:5])
        answer = await client.read_answer()
        assert (answer.status, answer.header("connection")) == (408, "close")
        assert b"REQUEST_TIMEOUT" in answer.body
        assert await client.closed()
    assert not stage.backend.seen


async def test_a_body_in_two_segments_arms_no_deadline_for_heads(stage: Stage) -> None:
    """The rest of a body is no half-open head: a slow answer is not broken into by a 408."""
    stage.backend.say(b"")
    async with raw_client(stage.gateway.port) as client:
        # Both segments are in flight at once: the second is read before the handler's first step.
        head, _, body = REQUEST.partition(b"\r\n\r\n")
        client.writer.write(head + b"\r\n\r\n" + body[:5])
        await asyncio.sleep(0)
        client.writer.write(body[5:])
        assert await eventually(lambda: stage.backend.seen)
        assert not await client.closed(within_s=HEADER_DEADLINE_S * 2)


GARBAGE = {
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "binary": bytes(range(256)) * 4,
    "newlines": b"\r\n" * 100 + b"\x00\r\n\r\n",
    "a long line": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nhost: g\r\nx-a: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nhost: g\r\n" + b"x-a: 1\r\n" * 10_000 + b"\r\n",
    "endless chunk size": b"POST /v1/completions HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"0" * 100_000,
    "shell": b"id; ls -la\n",
    "gopher": b"/\r\n\r\n",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_refused_and_forgotten(stage: Stage, data: bytes) -> None:
    """What is no request gets a 4xx in our error shape or a close; a good client is served after it."""
    async with raw_client(stage.gateway.port) as client:
        with contextlib.suppress(ConnectionError):
            await client.send(data)
        text = await client.read_all()
    assert text == b"" or (text.startswith(b"HTTP/1.1 4") and b'"error"' in text)
    assert not stage.backend.seen or stage.backend.seen[-1].body == chat_body()
    assert await stage.serves()


async def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    """Three requests in one segment give three answers in order, three decisions and three forwards."""
    stage.backend.say(WHOLE)
    ids = [f"pipelined-{number}" for number in range(3)]
    async with raw_client(stage.gateway.port) as client:
        await client.send(
            b"".join(post("/v1/chat/completions", chat_body(), f"x-request-id: {one}") for one in ids)
        )
        answers = [await client.read_answer() for _ in ids]
    assert [answer.header("x-request-id") for answer in answers] == ids
    outcomes = await stage.gateway.outcomes(count=3)
    assert [outcome["fate"] for outcome in outcomes] == ["complete"] * 3
    assert [message.header("x-request-id") for message in stage.backend.seen] == ids


async def test_what_follows_a_refused_body_is_not_read_as_a_request(stage: Stage) -> None:
    """Early data behind a body that was refused unread never becomes a request of its own."""
    stage.backend.say(WHOLE)
    smuggled = post("/v1/chat/completions", chat_body(content="smuggled"))
    async with raw_client(stage.gateway.port) as client:
        await client.send(post("/v1/chat/completions", smuggled, media="text/plain") + REQUEST)
        answer = await client.read_answer()
        assert (answer.status, answer.header("connection")) == (415, "close")
        assert await client.closed()
    assert not stage.backend.seen


async def test_a_drain_ends_open_streams_honestly(stage: Stage) -> None:
    """A gateway that stops tells a stream that it is cut, records that fate, and closes in bounded time."""

    async def stuck(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(STREAM + CHUNK)
        await wire.read_all()

    directory = stage.gateway.database.parent / "drained"
    directory.mkdir()
    async with raw_server(stuck) as peer, contextlib.AsyncExitStack() as stack:
        running = running_gateway(directory, backend_url=peer.url, limits={"drain_s": 0.1})
        gateway = await stack.enter_async_context(running)
        client = await stack.enter_async_context(raw_client(gateway.port))
        await client.send(REQUEST)
        await client.reader.readuntil(EVENT)
        async with asyncio.timeout(3):
            await gateway.gateway.close()
        text = await client.read_all()
    assert b'"error"' in text
    assert b"[DONE]" not in text
    with contextlib.closing(sqlite3.connect(directory / "lumyn.db")) as database:
        assert fates(database) == ["cut"]


def fates(database: sqlite3.Connection) -> list[str]:
    """The fates in a closed database, whatever its tables are called."""
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = [row for table in tables for row in database.execute(f'SELECT * FROM "{table}"')]
    bodies = [bytes(cell) for row in rows for cell in row if isinstance(cell, bytes)]
    return [
        fate
        for fate in ("cut", "client_gone", "complete")
        if any(b'"fate":"%b"' % fate.encode() in b for b in bodies)
    ]


async def test_early_data_behind_a_503_is_a_request_of_its_own(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests in one segment, the store full for the first: 503 and an answer, and one forward."""
    stage.backend.say(WHOLE)
    submit, full = stage.gateway.store.submit, [StoreBusyError("the queue is full")]

    def once_full(*args: Any, **options: Any) -> Any:
        if full:
            raise full.pop()
        return submit(*args, **options)

    monkeypatch.setattr(stage.gateway.store, "submit", once_full)
    async with raw_client(stage.gateway.port) as client:
        await client.send(REQUEST + REQUEST)
        answers = [await client.read_answer() for _ in range(2)]
    assert [answer.status for answer in answers] == [503, 200]
    assert answers[0].header("x-should-retry") == "true"
    [outcome] = await stage.gateway.outcomes()
    assert outcome["fate"] == "complete"
    assert len(stage.backend.seen) == 1
