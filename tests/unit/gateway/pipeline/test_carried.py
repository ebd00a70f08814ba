"""Actions carried to their end: whoever leaves changes nothing but who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.kernel.errors import GatewayError, UpstreamBrokenError
from gateway.pipeline.carried import CarriedClient, Carrier, ReadClient
from gateway.pipeline.executions import Answered

HEADERS = [("content-type", "application/json"), ("x-request-id", "r"), ("x-lumyn-verdict", "TRUST")]


class Heard:
    """A client that notes what it was told, until it leaves."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.connected = True

    async def read(self) -> bytes:
        raise AssertionError("the body was read before")

    def _hear(self, what: object) -> None:
        if not self.connected:
            raise ConnectionResetError
        self.told.append(what)

    async def send_head(
        self, status: int, headers: Sequence[tuple[str, str]], *, length: int | None, flush: bool
    ) -> None:
        self._hear((status, length, flush, len(headers)))

    async def send_chunk(self, data: bytes) -> None:
        self._hear(data)

    async def send_end(self) -> None:
        self._hear("end")

    def break_off(self, last_event: bytes | None) -> None:
        self._hear(("broken", last_event))

    async def send_error(self, error: GatewayError, *, headers: Sequence[tuple[str, str]]) -> None:
        self._hear(error.code)


async def test_the_body_is_there_already() -> None:
    """Reading gives what was read before, and everything else is handed on."""
    heard = Heard()
    client = ReadClient(heard, b"{}")
    assert await client.read() == b"{}"
    await client.send_head(200, HEADERS, length=2, flush=False)
    await client.send_chunk(b"ok")
    await client.send_end()
    await client.send_error(UpstreamBrokenError("x"), headers=())
    client.break_off(None)
    assert heard.told == [(200, 2, False, 3), b"ok", "end", "UPSTREAM_BROKEN", ("broken", None)]
    heard.connected = False
    assert not client.connected
    with pytest.raises(ConnectionError):
        await client.send_end()


async def test_an_answer_is_kept_as_it_goes_by() -> None:
    """Status, the tool's own headers and the body; what is ours is left out."""
    answered = Answered(64)
    client = CarriedClient(Heard(), b"{}", answered)
    await client.send_head(201, HEADERS, length=None, flush=True)
    await client.send_chunk(b"a")
    await client.send_chunk(b"b")
    await client.send_end()
    assert (answered.status, b"".join(answered.body)) == (201, b"ab")
    assert list(answered.headers) == [("content-type", "application/json")]


async def test_the_last_piece_waits_for_the_end() -> None:
    """Of a body of known length the client has the whole only when the end is said."""
    heard = Heard()
    client = CarriedClient(heard, b"{}", Answered(64))
    await client.send_head(200, HEADERS, length=4, flush=False)
    await client.send_chunk(b"ab")
    await client.send_chunk(b"cd")
    assert heard.told[1:] == [b"ab"]
    await client.send_end()
    assert heard.told[1:] == [b"ab", b"cd", "end"]


async def test_a_client_that_has_gone_is_not_noticed() -> None:
    """Nothing is raised, nothing more is tried, and all of the answer is kept."""
    heard, answered = Heard(), Answered(64)
    client = CarriedClient(heard, b"{}", answered)
    await client.send_head(200, HEADERS, length=None, flush=True)
    heard.connected = False
    await client.send_chunk(b"a")
    assert client.gone
    heard.connected = True
    await client.send_chunk(b"b")
    await client.send_error(UpstreamBrokenError("x"), headers=())
    await client.send_end()
    client.break_off(None)
    assert len(heard.told) == 1
    assert b"".join(answered.body) == b"ab"
    assert client.connected


def carried(heard: Heard) -> CarriedClient:
    """A client that may leave."""
    return CarriedClient(heard, b"", Answered(1))


async def test_an_exchange_outlives_its_client() -> None:
    """Cancelled because the client left, it runs on to its end."""
    heard, goes_on, ended = Heard(), asyncio.Event(), asyncio.Event()
    carrier, client = Carrier(), carried(heard)

    async def exchange() -> None:
        await goes_on.wait()
        ended.set()

    handler = asyncio.ensure_future(carrier.carry(client, exchange()))  # noqa: TID251
    await asyncio.sleep(0)
    heard.connected = False
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    assert (client.gone, carrier.in_flight) == (True, 1)
    goes_on.set()
    await carrier.drain(5)
    assert ended.is_set()
    assert carrier.in_flight == 0


async def test_a_stop_cuts_it() -> None:
    """Cancelled while the client is there, it is we who stop: the exchange hears of it before the handler."""
    carrier, cut = Carrier(), asyncio.Event()

    async def exchange() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    handler = asyncio.ensure_future(carrier.carry(carried(Heard()), exchange()))  # noqa: TID251
    await asyncio.sleep(0)
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    assert cut.is_set()


async def test_a_drain_ends_what_does_not_end() -> None:
    """What still runs at the deadline is cut."""
    heard, carrier, cut = Heard(), Carrier(), asyncio.Event()

    async def exchange() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    handler = asyncio.ensure_future(carrier.carry(carried(heard), exchange()))  # noqa: TID251
    await asyncio.sleep(0)
    heard.connected = False
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    await carrier.drain(0)
    assert cut.is_set()
    await carrier.drain(0)
