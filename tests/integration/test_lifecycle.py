"""From start to end of a gateway process: ready soon, small, drained by SIGTERM, honest when cut off."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import aiohttp
import orjson
import pytest
from openai import AsyncOpenAI

from tests.kit.gatewaybox import EVENT, STREAM_EVENTS, load, witness
from tests.kit.gatewaybox import read_store as read
from tests.kit.gateways import MODEL, chat_body, eventually, running_gateway
from tests.kit.processes import gateway_process
from tests.kit.rawpeer import Wire, raw_client, raw_server

START_S_MAX = 6.0
"""Loose: the figure (under 1.5 s on an idle machine) is printed, and asserted where nothing else runs."""
RESIDENT_MB_MAX = 120.0
REQUESTS = 10_000
BODY = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}'


async def test_sigterm_lets_a_running_stream_finish(tmp_path: Path) -> None:
    """A stream that runs when SIGTERM comes reaches its end mark; then the process leaves with 0."""
    async with witness() as backend:
        with gateway_process(tmp_path, backend.url) as one:
            async with raw_client(one.port) as client:
                await client.send(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
                )
                assert await eventually(lambda: backend.open_streams == 1)
                ending = asyncio.get_running_loop().run_in_executor(None, one.stop)
                answer = await client.read_answer()
                assert await ending == 0
    assert answer.body.count(EVENT) == STREAM_EVENTS
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert [fates for fates in read(tmp_path / "lumyn.db").fates.values()] == [["complete"]]  # noqa: C416


async def test_sigterm_under_load_loses_nobody(tmp_path: Path) -> None:
    """What was accepted is answered, what was forwarded has a fate that is known, and the exit code is 0."""
    answered: list[str] = []
    async with witness() as backend:
        with gateway_process(tmp_path, backend.url) as one:
            clients = [asyncio.create_task(load(one.port, f"c{n}", answered)) for n in range(8)]  # noqa: TID251
            assert await eventually(lambda: len(answered) > 50, within_s=10)
            assert await asyncio.to_thread(one.stop) == 0
            await asyncio.gather(*clients)
    kept = read(tmp_path / "lumyn.db")
    assert set(backend.seen) == kept.recorded
    assert set(answered) == set(backend.seen), "who was forwarded got the whole answer"
    assert all(fates == ["complete"] for fates in kept.fates.values())


async def test_a_stream_that_outlasts_the_drain_is_cut_honestly(tmp_path: Path) -> None:
    """At the end of the drain time the client is told by an event without `[DONE]`, and the fate is `cut`."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        await wire.send(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
        await asyncio.get_running_loop().create_future()

    body = chat_body(stream=True)
    async with raw_server(script) as backend, contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(
            running_gateway(tmp_path, backend_url=backend.url, limits={"drain_s": 0.1})
        )
        client = await stack.enter_async_context(raw_client(one.port))
        await client.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert await eventually(lambda: one.gateway._data is not None and one.gateway._data.in_flight == 1)
        assert await eventually(lambda: one.store.health().committed > 0)
        await asyncio.sleep(0.05)
        await one.gateway.close()
        answer = await client.read_answer()
    assert b"the gateway is stopping" in answer.body
    assert b"[DONE]" not in answer.body
    assert list(read(one.database).fates.values()) == [["cut"]]


async def test_while_it_drains_it_is_not_ready(tmp_path: Path) -> None:
    """Readiness turns false before the last stream has ended, and says why."""
    release = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await release.wait()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with raw_server(script) as backend, contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(
            running_gateway(tmp_path, backend_url=backend.url, limits={"drain_s": 5})
        )
        client = await stack.enter_async_context(AsyncOpenAI(base_url=one.url, api_key="none", max_retries=0))
        session = await stack.enter_async_context(aiohttp.ClientSession(one.admin_url))
        asking = asyncio.create_task(  # noqa: TID251
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x"}])
        )
        assert await eventually(lambda: one.gateway._data.in_flight == 1)  # type: ignore[union-attr]
        closing = asyncio.create_task(one.gateway.close())  # noqa: TID251
        await asyncio.sleep(0)
        async with session.get("/health/ready") as answer:
            state = orjson.loads(await answer.read())
        assert (answer.status, state["reason"]) == (503, "draining")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", one.port)
        release.set()
        await asking
        await closing


async def test_ready_soon_and_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Start to ready and resident memory after 10,000 requests, printed; the bound on memory is held."""
    answered: list[str] = []
    async with witness() as backend:
        with gateway_process(tmp_path, backend.url) as one:
            before_mb = one.resident_mb()
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{one.port}/v1/chat/completions"
                body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})

                async def ask(count: int) -> None:
                    for _ in range(count):
                        async with session.post(
                            url, data=body, headers={"content-type": "application/json"}
                        ) as answer:
                            await answer.read()
                            assert answer.status == 200
                            answered.append("")

                await asyncio.gather(*(ask(REQUESTS // 32 + 1) for _ in range(32)))
            resident_mb = one.resident_mb()
    with capsys.disabled():
        sys.stdout.write(
            f"\nstart to ready {one.started_s:.2f} s; resident {before_mb:.0f} MB, "
            f"{resident_mb:.0f} MB after {len(answered)} requests\n"
        )
    assert len(answered) >= REQUESTS
    assert resident_mb < RESIDENT_MB_MAX
    assert one.started_s < START_S_MAX
