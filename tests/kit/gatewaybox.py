"""Gateways that are killed: each a process of its own with its own listeners, forked from a warm server.

The fork server has imported the gateway and nothing more; a child opens the store, compiles the policies,
listens, and ends by SIGKILL. With `mutant` the child is a broken build that forwards first: the patch
lives in this file, is applied in the child only, and no product code knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import uvloop

START_S = 30.0
STREAM_EVENTS = 12
STREAM_PAUSE_S = 0.01
EVENT = (
    b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"delta":{"content":"a"}}]}\n\n'
)
PLAIN = b'{"id":"c","object":"chat.completion","model":"m","choices":[],"usage":{"prompt_tokens":1}}'
MODELS = b'{"object":"list","data":[{"id":"m"}]}'
_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["gateway.app", "tests.kit.gatewaybox"])


# --- the child -----------------------------------------------------------------------------------


def forward_first() -> None:
    """Break the build: a permitted request is forwarded at once, and committed when its head has come."""
    from gateway.pipeline import drive
    from gateway.pipeline.exchange import TABLE, Command, Event, State, Transition

    first = dict(TABLE)
    first[State.DECIDING, Event.PERMITTED] = Transition(State.FORWARDING, (Command.FORWARD,))
    first[State.FORWARDING, Event.HEAD_ARRIVED] = Transition(State.PERSISTING, (Command.PERSIST,))
    first[State.PERSISTING, Event.COMMITTED] = Transition(State.RELAYING, (Command.RELAY_HEAD,))
    drive.TABLE = MappingProxyType(first)  # type: ignore[misc]


def attempt_first() -> None:
    """Break the build: a further attempt is sent at once, and its event committed meanwhile."""
    from gateway.pipeline.further import Attempts

    commit = Attempts.commit

    class Hasty:
        """Who hands in what is to be kept, and waits for nothing."""

        def __init__(self, writer: Any) -> None:
            self.recorder, self.event = self, writer.event
            self._recorder = writer.recorder

        def submit(self, entries: Any) -> Any:
            self._recorder.submit(entries, reserved=True)
            return asyncio.sleep(0)

    async def hasty(self: Attempts, writer: Any) -> Any:
        return await commit(self, Hasty(writer))  # type: ignore[arg-type]

    Attempts.commit = hasty  # type: ignore[method-assign]


MUTANTS = {"forward": forward_first, "attempt": attempt_first}


def _child(database: str, backend_url: str, mutant: str, settings: Any, ready: Connection) -> None:
    from gateway.app import serve
    from gateway.config import load_config

    if mutant:
        MUTANTS[mutant]()
    environment = {"LUMYN_STORAGE_URL": f"sqlite:{database}", "LUMYN_BACKEND_URL": backend_url}
    flags = {"listen": {"port": 0, "admin_port": 0}, "log": {"level": "error"}, **settings}
    config = load_config(None, environment, flags)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config, ready=lambda ports: ready.send(ports.port)))


@dataclass
class Victim:
    """A gateway process that listens."""

    process: Any
    port: int
    started_s: float

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.process.kill()
        self.process.join(10)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.terminate()
        self.process.join(20)
        return int(self.process.exitcode)


def _start(database: Path, backend_url: str, mutant: str, settings: Any) -> Victim:
    began = time.monotonic()
    ours, theirs = _WARM.Pipe(duplex=False)
    process = _WARM.Process(target=_child, args=(str(database), backend_url, mutant, settings, theirs))
    process.start()
    theirs.close()
    try:
        assert ours.poll(START_S), "the gateway did not start in time"
        port = ours.recv()
    except BaseException:
        process.kill()
        process.join(10)
        raise
    finally:
        ours.close()
    return Victim(process, port, time.monotonic() - began)


@contextlib.asynccontextmanager
async def victim(
    database: Path, backend_url: str, *, mutant: str = "", **settings: Any
) -> AsyncIterator[Victim]:
    """Start a gateway on `database`; at the end it is dead, whatever happened. `settings` go before all."""
    found = await asyncio.to_thread(_start, database, backend_url, mutant, settings)
    try:
        yield found
    finally:
        await asyncio.to_thread(found.kill)
        found.process.close()


# --- what stands behind and before it ------------------------------------------------------------


@dataclass
class Witness:
    """A backend that notes the `x-request-id` of every request at the moment its head has arrived."""

    refuses: bool = False
    """Say 503 to everything."""
    seen: list[str] = field(default_factory=list)
    open_streams: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        """The OpenAI base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests until it ends."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                if not head.startswith("get"):
                    self.seen.append(lines["x-request-id"])
                body = await reader.readexactly(int(lines["content-length"]))
                if self.refuses:
                    writer.write(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")
                elif head.startswith("get"):
                    _write(writer, MODELS)
                elif b'"stream":true' in body:
                    await self._stream(writer)
                else:
                    _write(writer, PLAIN)
        except (OSError, EOFError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        self.open_streams += 1
        try:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for _ in range(STREAM_EVENTS):
                writer.write(_chunk(EVENT))
                await writer.drain()
                await asyncio.sleep(STREAM_PAUSE_S)
            writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        finally:
            self.open_streams -= 1


def _write(writer: asyncio.StreamWriter, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def witness(*, refuses: bool = False) -> AsyncIterator[Witness]:
    """Run a witness on a free port."""
    found = Witness(refuses)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


async def load(port: int, name: str, answered: list[str]) -> None:
    """Send requests on one connection, plain and streamed in turn, until the gateway dies."""
    number = 0
    with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                number += 1
                body = orjson.dumps(
                    {"model": "m", "messages": [{"role": "user", "content": "x"}]}
                    | ({"stream": True} if number % 2 else {})
                )
                writer.write(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                    b"x-request-id: %b-%d\r\ncontent-length: %d\r\n\r\n%b"
                    % (name.encode(), number, len(body), body)
                )
                head = await reader.readuntil(b"\r\n\r\n")
                if b"chunked" in head:
                    await reader.readuntil(b"0\r\n\r\n")
                else:
                    await reader.readexactly(
                        int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    )
                if head.startswith(b"HTTP/1.1 200"):
                    answered.append(f"{name}-{number}")
        finally:
            writer.close()


# --- what the disk says --------------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """What a store holds, read with sqlite3 alone."""

    recorded: set[str]
    """The request ids that have a decision."""
    fates: dict[str, list[str]]
    """The fates of each decision that awaits one."""
    sound: bool
    attempted: set[str]
    """The request ids that have a further attempt."""


def read_store(database: Path) -> Kept:
    """Open the file as after any crash, and read what it holds."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        sound = connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT entry_id, correlation_id FROM entries WHERE kind = 'decision' AND awaits_outcome = 1"
        ).fetchall()
        attempts = connection.execute(
            "SELECT d.correlation_id FROM entries e JOIN entries d ON d.entry_id = e.decision_id "
            "WHERE e.kind = 'event' AND e.label = 'note' AND d.kind = 'decision'"
        ).fetchall()
        outcomes = connection.execute(
            "SELECT decision_id, body FROM entries WHERE kind = 'event' AND label = 'outcome'"
        ).fetchall()
    fates: dict[str, list[str]] = {entry_id: [] for entry_id, _ in rows}
    for decision_id, body in outcomes:
        assert decision_id in fates, "an outcome is recorded and its decision is not recorded"
        fates[decision_id].append(orjson.loads(body)["data"]["fate"])
    recorded = {correlation_id for _, correlation_id in rows}
    return Kept(recorded, fates, sound, {correlation_id for (correlation_id,) in attempts})
