"""A server's answer to one call, as an exchange relays it: whole events, up to the response and no further.

Events are held until they are complete, so that a client never sees half of one and an answer that breaks off
can still be ended with an error that it reads. After the response nothing more is waited for: clients close
as soon as they have it, and the call is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from gateway.kernel.bounds import MCP_EVENT_BYTES_MAX
from gateway.kernel.errors import UpstreamBrokenError
from gateway.pipeline.relayed import Answer
from gateway.proxy.mcp.servers import Server
from gateway.wire.mcp.events import Event, EventSplitter, with_data
from gateway.wire.mcp.forward import relayed_pairs
from gateway.wire.mcp.message import RpcId
from gateway.wire.mcp.watch import AnswerWatch

Rewrite: TypeAlias = Callable[[str], str]
"""Makes another text of a response that asks the client for more."""


class CallAnswer:
    """Implements `pipeline.ports.Answer` around the server's own."""

    __slots__ = ("_rewrite", "_splitter", "headers", "raw", "resumable", "watch")

    def __init__(self, raw: Answer, rpc_id: RpcId, rewrite: Rewrite | None) -> None:
        self.raw = raw
        self.watch = AnswerWatch(rpc_id)
        self._rewrite = rewrite
        pairs = relayed_pairs(raw.headers)
        streamed = is_stream(pairs)
        self._splitter = EventSplitter(MCP_EVENT_BYTES_MAX) if streamed else None
        if streamed or rewrite is not None:
            pairs = [pair for pair in pairs if pair[0].lower() != b"content-length"]
        self.headers: Sequence[tuple[bytes, bytes]] = pairs
        self.resumable = False
        """An event had an id: a client of the era with sessions may ask for what follows it."""

    @property
    def status(self) -> int:
        """The final status code."""
        return self.raw.status

    @property
    def complete(self) -> bool:
        """The body came to its declared end."""
        return self.raw.complete

    @property
    def framed(self) -> bool:
        """The body has a declared end."""
        return self.raw.framed

    @property
    def buffered(self) -> bool:
        """`chunk()` would return at once."""
        return self.raw.buffered

    async def chunk(self, timeout_s: float) -> bytes:
        """Return what may be relayed; empty at the end. Raises UpstreamError."""
        if self._splitter is not None:
            return await self._events(self._splitter, timeout_s)
        if self._rewrite is not None:
            return await self._rewritten(self._rewrite, timeout_s)
        data = await self.raw.chunk(timeout_s)
        self.watch.piece(data)
        return data

    async def _events(self, splitter: EventSplitter, timeout_s: float) -> bytes:
        while not self.watch.done and (data := await self.raw.chunk(timeout_s)):
            pieces: list[bytes] = []
            for event in splitter.feed(data):
                self.resumable = self.resumable or event.identified
                if event.data and self.watch.event(event.data):
                    pieces.append(self._last(event, event.data))
                    break
                pieces.append(event.raw)
            if pieces:
                return b"".join(pieces)
        return b""

    def _last(self, event: Event, data: bytes) -> bytes:
        if self._rewrite is None or not self.watch.asks_input:
            return event.raw
        return with_data(event, self._rewrite(data.decode()).encode())

    async def _rewritten(self, rewrite: Rewrite, timeout_s: float) -> bytes:
        """Return the whole body at once; it is held, because only its end says what it is."""
        held: list[bytes] = []
        size = 0
        while data := await self.raw.chunk(timeout_s):
            held.append(data)
            size += len(data)
            if size > MCP_EVENT_BYTES_MAX:
                raise UpstreamBrokenError(f"the server's answer is over {MCP_EVENT_BYTES_MAX} bytes")
        if not held:
            return b""
        body = b"".join(held)
        self.watch.piece(body)
        return rewrite(body.decode()).encode() if self.watch.done and self.watch.asks_input else body


class CallBackend:
    """Implements `pipeline.ports.Backend` for one call."""

    __slots__ = ("_rewrite", "_rpc_id", "_server", "answer", "name")

    def __init__(self, server: Server, rpc_id: RpcId, rewrite: Rewrite | None) -> None:
        self.name = server.name
        self._server = server
        self._rpc_id = rpc_id
        self._rewrite = rewrite
        self.answer: CallAnswer | None = None

    async def send(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        *,
        first_byte_s: float,
    ) -> CallAnswer:
        """Send the call and wait for the head of its answer. Raises UpstreamError."""
        backend = self._server.backend
        raw = await backend.send(method, path, headers, body, first_byte_s=first_byte_s)
        try:
            check_status(raw.status)
        except UpstreamBrokenError:
            backend.release(raw)
            raise
        self.answer = CallAnswer(raw, self._rpc_id, self._rewrite)
        return self.answer

    def release(self, answer: object) -> None:
        """Say that the answer is read or given up."""
        assert isinstance(answer, CallAnswer)
        self._server.backend.release(answer.raw)


def check_status(status: int) -> None:
    """Refuse answers that concern the gateway and not its client. Raises UpstreamBrokenError.

    A redirect would lead past the configuration, and a challenge is for the gateway's own credential: it
    would have the client offer its own.
    """
    if status in {401, 407}:
        raise UpstreamBrokenError("the server does not take the gateway's credential")
    if 300 <= status < 400:
        raise UpstreamBrokenError("the server redirects, and redirects are not followed")


def is_stream(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether an answer is a stream of events."""
    return any(
        name.lower() == b"content-type" and value.lower().lstrip().startswith(b"text/event-stream")
        for name, value in headers
    )
