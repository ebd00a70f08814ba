"""A gateway in front of two backends whose every byte a test writes: `a` is asked first, `b` stands by.

    async with pair(directory, retries={"after_send": True}) as stage:
        stage.a.say(b"", RESET)
        answer = await stage.ask()
        assert stage.b.bodies == [...]

What `b` is sent is held against the ledger at the moment it arrives: a further attempt that is not on record
by then, under the digest of these very bytes, is a fault of the gateway and fails the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from gateway.kernel.canon import sha256_digest
from gateway.kernel.types import EVERY_TENANT
from tests.kit.gateways import MODEL, RunningGateway, chat_body, running_gateway
from tests.kit.rawpeer import Message, RawServer, Wire, post, raw_client, raw_server

RESET, STAY, CLOSE = "reset", "stay", "close"
OK = b"HTTP/1.1 200 OK\r\n"
JSON = b"content-type: application/json\r\n"
ANSWER = b'{"choices":[{"message":{"content":"b"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
GOOD = OK + JSON + b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


def saying(status: int, *headers: bytes, body: bytes = b'{"error":{"message":"no"}}') -> bytes:
    """An error answer of a backend."""
    lines = b"".join(line + b"\r\n" for line in (b"content-type: application/json", *headers))
    return b"HTTP/1.1 %d No\r\n%bcontent-length: %d\r\n\r\n" % (status, lines, len(body)) + body


@dataclass(slots=True)
class Scripted:
    """One backend: what it says to each request, and what it was sent."""

    name: str
    database: Path
    peer: RawServer | None = None
    says: bytes = GOOD
    then: str = STAY
    seen: list[Message] = field(default_factory=list)
    unrecorded: list[bytes] = field(default_factory=list)
    """Bodies that came before their attempt was on record."""
    left: int = 0
    """Connections that the gateway has closed or reset."""

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all requests."""
        return [message.body for message in self.seen]

    def say(self, says: bytes, then: str = STAY) -> None:
        """Say this to every request from now on, and forget what was seen."""
        self.says, self.then = says, then
        self.seen.clear()
        self.left = 0

    async def converse(self, wire: Wire) -> None:
        """Answer requests until one is answered by an end."""
        try:
            # Between two tests of a module a connection may lie idle for longer than a script waits.
            with contextlib.suppress(TimeoutError):
                while await self._answer(wire):
                    pass
        finally:
            self.left += 1

    async def _answer(self, wire: Wire) -> bool:
        """Answer one request; tell whether another may come."""
        message = await wire.read_request()
        if message.start.startswith("GET "):  # a backend without models is asked for its own
            await wire.send(saying(404))
            return True
        self.seen.append(message)
        if not recorded(self.database, self.name, message.body):
            self.unrecorded.append(message.body)
        await wire.send(self.says)
        if self.then == RESET:
            await asyncio.sleep(0.005)  # let what was said arrive: a reset overtakes it
            wire.reset()
        return self.then == STAY


def recorded(database: Path, backend: str, body: bytes) -> bool:
    """Tell whether these bytes are on record for this backend: by a decision, or by an attempt's event."""
    digest = sha256_digest(body)
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as ledger:
        rows = ledger.execute("SELECT kind, body FROM entries ORDER BY position DESC LIMIT 1000").fetchall()
    for kind, raw in rows:
        if digest.encode() not in raw:
            continue
        entry = orjson.loads(raw)
        if kind == "event":
            data = entry["data"]
            if data.get("kind") == "attempt" and (data["backend"], data["digest"]) == (backend, digest):
                return True
        elif kind == "decision":
            sent = entry.get("extensions", {}).get("control", {}).get("sent_digest")
            target = entry["request"]["action"]["target"]["system"]
            if target == backend and digest == (sent or entry["request"]["context"]["digest"]):
                return True
    return False


@dataclass(slots=True)
class Pair:
    """A gateway and its two backends."""

    gateway: RunningGateway
    a: Scripted
    b: Scripted

    async def ask(self, *, stream: bool = False, body: bytes | None = None, headers: Any = ()) -> Message:
        """Send one request on a connection of its own, and read its answer to its end."""
        async with raw_client(self.gateway.port) as client:
            sent = chat_body(stream=stream) if body is None else body
            await client.send(post("/v1/chat/completions", sent, *headers))
            return await client.read_answer()

    async def events(self) -> list[tuple[str, Any]]:
        """Return the events of the newest decision, which has ended, oldest first, each with its type."""
        await self.gateway.outcomes()
        [record] = await self.gateway.decisions(limit=1)
        kept = await self.gateway.store.events(EVERY_TENANT, record["decision_id"])
        return [(event.event_type, orjson.loads(event.body)["data"]) for event in kept]

    def hold(self) -> None:
        """Assert that nothing was sent that was not on record."""
        assert not self.a.unrecorded
        assert not self.b.unrecorded


@contextlib.asynccontextmanager
async def pair(directory: Path, *, models: Any = None, **settings: Any) -> AsyncIterator[Pair]:
    """Start it. Without `models` both backends serve `MODEL`, `a` first; breakers stay out of the way."""
    database = directory / "lumyn.db"
    a, b = Scripted("a", database), Scripted("b", database)
    serving = [{"name": "a"}, {"name": "b", "order": 1}]
    settings = {
        "models": models or [{"name": MODEL, "backend": serving}],
        "breaker": {"failures": 1000, "requests_min": 100_000},
        "limits": {"first_byte_s": 0.3, "idle_s": 0.15},
    } | settings
    settings["retries"] = {"budget_per_s": 1000} | settings.get("retries", {})
    async with raw_server(a.converse) as first, raw_server(b.converse) as second:
        a.peer, b.peer = first, second
        urls = {"a": first.url, "b": second.url} | settings.pop("urls", {})
        backends = [{"name": name, "url": url} for name, url in urls.items()]
        async with running_gateway(directory, backends=backends, **settings) as gateway:
            stage = Pair(gateway, a, b)
            yield stage
            stage.hold()
