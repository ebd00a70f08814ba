"""The client's side of an action: its body is read already, and what it does can be carried to its end alone.

A client that leaves a model's answer wants it no more. One that leaves a refund does not undo it, and will
ask what became of it: so an action that changes something goes on without its client, its answer is kept
for the repetition, and only the end of the gateway's drain cuts it off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from gateway.kernel.errors import GatewayError
from gateway.pipeline.executions import Answered
from gateway.pipeline.ports import Client
from gateway.pipeline.tasks import spawn

_OWN: Final = frozenset({"x-request-id", "x-accel-buffering"})
"""Headers of ours, beside `x-lumyn-*`: each answer gets its own."""


class ReadClient:
    """A client whose body has been read. Implements `pipeline.ports.Client`."""

    def __init__(self, client: Client, body: bytes) -> None:
        self._client = client
        self._body = body

    @property
    def connected(self) -> bool:
        """The client's side of the connection is up, as far as we know."""
        return self._client.connected

    async def read(self) -> bytes:
        """Return the body."""
        return self._body

    async def send_head(
        self, status: int, headers: Sequence[tuple[str, str]], *, length: int | None, flush: bool
    ) -> None:
        """Begin the answer."""
        await self._client.send_head(status, headers, length=length, flush=flush)

    async def send_chunk(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._client.send_chunk(data)

    async def send_end(self) -> None:
        """End the answer as whole."""
        await self._client.send_end()

    def break_off(self, last_event: bytes | None) -> None:
        """End an answer so that it cannot be taken for whole."""
        self._client.break_off(last_event)

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]]) -> None:
        """Answer with an error."""
        await self._client.send_error(error, headers=headers)


class CarriedClient(ReadClient):
    """A client that may leave: the exchange does not notice, and what it would have got is kept.

    `connected` is true whatever becomes of the client, so that a cancelled exchange knows who ended it.
    """

    def __init__(self, client: Client, body: bytes, answered: Answered) -> None:
        super().__init__(client, body)
        self._answered = answered
        self._unsent_bytes: int | None = None
        self._last = b""
        self.gone = False

    @property
    def connected(self) -> bool:
        """Nothing but the gateway itself ends this exchange."""
        return True

    @property
    def reachable(self) -> bool:
        """The client itself is there."""
        return self._client.connected

    async def send_head(
        self, status: int, headers: Sequence[tuple[str, str]], *, length: int | None, flush: bool
    ) -> None:
        """Begin the answer, and keep its head."""
        self._answered.status = status
        self._unsent_bytes = length
        self._answered.headers = [
            pair for pair in headers if pair[0] not in _OWN and not pair[0].startswith("x-lumyn-")
        ]
        await self._told(super().send_head(status, headers, length=length, flush=flush))

    async def send_chunk(self, data: bytes) -> None:
        """Send a piece of the body, and keep it.

        The last piece of a body of known length waits for `send_end`: with it the client has the whole
        answer, and may repeat its request at once.
        """
        self._answered.add(data)
        if self._unsent_bytes is not None:
            self._unsent_bytes -= len(data)
            if self._unsent_bytes <= 0:
                self._last += data
                return
        await self._told(super().send_chunk(data))

    async def send_end(self) -> None:
        """End the answer as whole."""
        if self._last:
            await self._told(super().send_chunk(self._last))
        await self._told(super().send_end())

    def break_off(self, last_event: bytes | None) -> None:
        """End the answer, where somebody is still there to see it."""
        if not self.gone:
            super().break_off(last_event)

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]]) -> None:
        """Answer with an error."""
        await self._told(super().send_error(error, headers=headers))

    async def _told(self, telling: Coroutine[Any, Any, None]) -> None:
        if self.gone:
            telling.close()
            return
        try:
            await telling
        except ConnectionError:
            self.gone = True


class Carrier:
    """Runs exchanges that outlive their clients, and ends them with the gateway."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Exchanges that are under way."""
        return len(self._running)

    async def carry(self, client: CarriedClient, exchange: Coroutine[Any, Any, None]) -> None:
        """Run an exchange. Cancelled because its client left, it goes on; because we are stopping, it is cut.

        Raises CancelledError either way, and whatever the exchange raised.
        """
        task = spawn(exchange, name="action")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if client.reachable:
                task.cancel()
                await asyncio.wait({task})
            else:
                client.gone = True
            raise

    async def drain(self, deadline_s: float) -> None:
        """Let what runs end for `deadline_s`, then cut it: each says so in its record."""
        if self._running:
            await asyncio.wait({*self._running}, timeout=deadline_s)
        cut = {*self._running}
        for task in cut:
            task.cancel()
        if cut:
            await asyncio.wait(cut, timeout=_CUT_S)


_CUT_S: Final = 0.5
"""What is cut has only to record it."""
