"""One HTTP/1.1 connection to a backend: a request at a time, its answer as it arrives.

A lean client on llhttp (httptools): at the size of LLM answers it costs a third of a general client,
and it shows what a relay must know and a general client hides, namely whether a body came to its
own end. It never retries, never follows a redirect, never decompresses.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, cast

import httptools

from gateway.kernel.bounds import UPSTREAM_HEADER_BYTES_MAX
from gateway.kernel.errors import (
    UpstreamBrokenError,
    UpstreamClosedError,
    UpstreamError,
    UpstreamTimeoutError,
)

_PAUSE_AT_BYTES: Final = 256 * 1024
"""A reader slower than its backend holds at most this much of the answer; then TCP pushes back."""
_INTERIM_MAX: Final = 8
"""1xx heads before the real one: two are usual (100, 103), a flood is an attack."""


class Connection(asyncio.Protocol):
    """Use: `send`, then `await head`, then `await chunk()` until it is empty; then it may be used again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._until = 0.0
        self._overdue = ""
        self._alarm: asyncio.TimerHandle | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._body_bytes = 0
        self._paused = False
        self._bare_bytes = 0
        self._field_bytes = 0
        self._interim = 0
        self._head_done = False
        self._stays_open = False
        self._failure: UpstreamError | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        """The body came to the end that its framing declared."""
        self.framed = False
        """The body has a declared end (a length or chunks); else only the peer's close ends it."""
        self.idle_since = 0.0
        self.epoch = 0
        """Of the backend's breaker, when the request was sent."""

    # --- what the pool and the relay call --------------------------------------------------------

    @property
    def closed(self) -> bool:
        """The transport is gone or going: no request may be sent."""
        return self._transport is None or self._transport.is_closing()

    def send(self, head: bytes, body: bytes) -> None:
        """Write one request. The connection must be open and have no answer outstanding."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks.clear()
        self._buffered_bytes = self._bare_bytes = self._field_bytes = self._interim = self.status = 0
        self._head_done = self.complete = self.framed = self._stays_open = False
        self._failure = None
        self.headers = []
        if len(body) <= _PAUSE_AT_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    async def head(self, timeout_s: float) -> None:
        """Wait for the final status line and headers, `timeout_s` in all. Raises UpstreamError."""
        until = self._loop.time() + timeout_s
        while not self._head_done:
            await self._wait(until, f"no answer from the backend within {timeout_s:g} s")

    async def chunk(self, timeout_s: float) -> bytes:
        """Return all body bytes that have arrived, waiting for the first; empty at the end.

        Raises UpstreamError where the answer broke off. Where the framing declares no end, a close by
        the peer ends it and `complete` stays False: whether it is whole is for the content to say.
        """
        until = self._loop.time() + timeout_s
        while not self._chunks:
            if self.complete or (self._failure is None and self._transport is None and not self.framed):
                return b""
            await self._wait(until, f"silence in the middle of the backend's answer for {timeout_s:g} s")
        data = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered_bytes = 0
        if self._paused and not self.closed:
            assert self._transport is not None
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def buffered(self) -> bool:
        """`chunk()` would return at once."""
        return bool(self._chunks) or self.complete

    @property
    def broke(self) -> bool:
        """The answer is no answer, broke off or was overdue; not where it was us who gave it up."""
        return self._failure is not None

    @property
    def reusable(self) -> bool:
        """The answer came to its end and the peer keeps the connection open.

        One whose reading is paused (an answer that nobody read) would never hear the next answer.
        """
        return self.complete and self._stays_open and not self._paused and not self.closed

    def abort(self) -> None:
        """Close at once: the backend learns that nobody is listening any more."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._parser is None or self.complete:
            # Bytes that answer no request would be taken for the answer to the next one.
            self.abort()
            return
        body_bytes, headed = self._body_bytes, self._head_done
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, UpstreamBrokenError) as error:
            self._refuse(error)
        else:
            if self._body_bytes == body_bytes and self._head_done == headed:
                # An endless head, trailer or chunk extension: llhttp keeps what is not yet at its end.
                self._bare_bytes += len(data)
                if self._bare_bytes > UPSTREAM_HEADER_BYTES_MAX:
                    self._fail(_too_much())
            else:
                self._bare_bytes = 0
            if self._buffered_bytes > _PAUSE_AT_BYTES and not self._paused and not self.closed:
                self._pause()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if not self.complete and self._failure is None and (self.framed or not self._head_done or exc):
            self._failure = (
                UpstreamBrokenError("the backend closed the connection in the middle of its answer")
                if self._head_done
                else UpstreamClosedError("the backend closed the connection before it answered")
            )
        self._transport = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._wake()

    def eof_received(self) -> bool:
        """Called by the loop: a half-closed backend has said all it will say."""
        return False

    # --- httptools callbacks ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Called by llhttp at the first byte of a head: what follows a whole answer is refused here."""
        if self.complete:
            raise UpstreamBrokenError("the backend sent bytes that answer no request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp for each header, and for each trailer, which is dropped."""
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > UPSTREAM_HEADER_BYTES_MAX:
            raise _too_much()
        if not self._head_done:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called by llhttp at the end of a head, also of an interim one."""
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        if not 100 <= self.status <= 599 or not self._parser.get_http_version().startswith("1."):
            raise UpstreamBrokenError("the backend's answer is not HTTP/1.1")
        if self.status < 200:
            self._interim += 1
            if self.status == 101 or self._interim > _INTERIM_MAX:
                raise UpstreamBrokenError("the backend sent no final answer, only interim ones")
            self.headers = []
            return
        fields = {name.lower(): value for name, value in self.headers}
        coding = fields.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            raise UpstreamBrokenError("the backend's answer has a transfer coding that nobody asked for")
        self.framed = coding is not None or b"content-length" in fields or self.status in {204, 304}
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        """Called by llhttp for each piece of the body, chunk framing removed."""
        self._chunks.append(body)
        self._buffered_bytes += len(body)
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        """Called by llhttp at the declared end, also of an interim answer."""
        if self._head_done:
            assert self._parser is not None
            self.complete = True
            # Asked here because llhttp forgets it as soon as this callback returns.
            self._stays_open = bool(self._parser.should_keep_alive())

    # --- waiting ---------------------------------------------------------------------------------

    async def _wait(self, until: float, overdue: str) -> None:
        self._raise_failure()
        if self._transport is None:
            raise UpstreamClosedError("the backend closed the connection")
        waiter = self._waiter = self._loop.create_future()
        self._until, self._overdue = until, overdue
        if self._alarm is None or until < self._alarm.when():
            self._set_alarm()
        try:
            await waiter
        finally:
            self._waiter = None
        if not self._chunks:
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _set_alarm(self) -> None:
        """Look at the deadline when it is due, and not before: most waits are over long before theirs.

        One timer a connection serves all its waits: to set and cancel one for each wait was a twentieth
        of a request.
        """
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        """Called when the deadline of some wait is over; of which one, the present one's tells."""
        self._alarm = None
        if self._waiter is None or self._waiter.done() or self._transport is None:
            return
        if self._loop.time() < self._until:
            self._set_alarm()
            return
        self._fail(UpstreamTimeoutError(self._overdue))
        self._wake()

    def _pause(self) -> None:
        assert self._transport is not None
        self._paused = True
        self._transport.pause_reading()

    def _refuse(self, error: Exception) -> None:
        """Say what is wrong with the bytes; behind a whole answer it is no fault of that answer."""
        if self.complete:
            self.abort()
            return
        # llhttp wraps what a callback raises; the cause says what it was.
        cause = error.__context__ if isinstance(error.__context__, UpstreamBrokenError) else None
        self._fail(cause or UpstreamBrokenError("the backend's answer is not HTTP"))

    def _fail(self, failure: UpstreamError) -> None:
        self._failure = self._failure or failure
        self.abort()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _too_much() -> UpstreamBrokenError:
    return UpstreamBrokenError("the backend's head, trailer or framing is over the bound")
