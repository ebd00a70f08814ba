"""What an exchange needs from the outside: protocols only, so that it runs in a test without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.engine.decide import Decision
from gateway.kernel.errors import GatewayError
from gateway.kernel.types import Tenant
from gateway.records.types import Entry
from gateway.store.port import Receipt


class Recorder(Protocol):
    """The part of the store that an exchange uses."""

    def submit(self, entries: Sequence[Entry], *, reserved: bool = False) -> asyncio.Future[Receipt]:
        """See `store.port.Store.submit`."""
        ...


class Answer(Protocol):
    """A backend's answer, as it arrives."""

    @property
    def status(self) -> int:
        """The final status code."""
        ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers as they came."""
        ...

    @property
    def complete(self) -> bool:
        """The body came to the end that its framing declared."""
        ...

    @property
    def framed(self) -> bool:
        """The body has a declared end."""
        ...

    @property
    def buffered(self) -> bool:
        """`chunk()` would return at once."""
        ...

    async def chunk(self, timeout_s: float) -> bytes:
        """Return the bytes that have arrived; empty at the end. Raises UpstreamError."""
        ...


class Backend(Protocol):
    """Where an admitted request goes."""

    name: str

    async def send(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        first_byte_s: float,
    ) -> Answer:
        """Send a request, wait for the head of its answer. Raises UpstreamError."""
        ...

    def release(self, answer: Answer) -> None:
        """Say that the answer is read or given up; one that is not whole closes its connection."""
        ...


class Client(Protocol):
    """The one who asked. Every method may raise ConnectionError: the client has left."""

    @property
    def connected(self) -> bool:
        """The client's side of the connection is up, as far as we know."""
        ...

    async def read(self) -> bytes:
        """Return the whole request body. Raises RequestError."""
        ...

    async def send_head(
        self,
        status: int,
        headers: Sequence[tuple[str, str]],
        *,
        length: int | None,
        flush: bool,
    ) -> None:
        """Begin the answer. `length` None means chunks; `flush` sends the head before any body."""
        ...

    async def send_chunk(self, data: bytes) -> None:
        """Send a piece of the body, and wait while the client is slower than we are."""
        ...

    async def send_end(self) -> None:
        """End the answer as whole."""
        ...

    def break_off(self, last_event: bytes | None) -> None:
        """End an answer that has begun, at once, so that it cannot be taken for whole.

        `last_event` says so inside an event stream; where there is none, the connection is reset.
        """
        ...

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]]) -> None:
        """Answer with an error in the shape of the client's API."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A decided request: its record, and what would be forwarded where."""

    decision: Decision
    tenant: Tenant
    at_ms: int
    entries: tuple[Entry, ...]
    """The decision, and with it whatever must be committed in the same group."""
    backend: Backend
    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    """The very bytes that were judged."""
    model: str | None


class Judge(Protocol):
    """Reads a body and decides it: the part of an exchange that knows what kind of traffic it is."""

    def decide(self, body: bytes) -> Admitted:
        """Return the decided request. Raises RequestError where the body is no request."""
        ...
