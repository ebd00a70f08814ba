"""What can go wrong around a held call, through a whole gateway: nothing unrecorded is ever released."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.store.writer import CommitError
from tests.kit.gateways import chat_body, eventually, running_gateway
from tests.kit.rawpeer import Wire, post, raw_client, raw_server
from tests.kit.toolgates import POLICY, SMALL, TOOLS, tool_records
from tests.kit.toolstreams import call, chat, chat_end, text

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FRAMES = [*chat([text("Hi"), call("refund", SMALL)]), *chat_end()]


def chunks(frames: list[bytes]) -> bytes:
    """Frames as chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames)


def settings(directory: Path) -> dict[str, Any]:
    """The shop's policy and tools."""
    path = directory / "shop.yml"
    path.write_text(POLICY)
    return {"policy": {"path": str(path)}, "tools": TOOLS}


async def test_a_store_that_fails_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is out; the call is not on record, so nothing of it goes, and the client is told why."""
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(HEAD + chunks(FRAMES[:2]))
        await go_on.wait()
        await wire.send(chunks(FRAMES[2:]) + b"0\r\n\r\n")

    async def fails(*_: object) -> None:
        raise CommitError("disk full", fatal=False)

    async with (
        raw_server(script) as backend,
        running_gateway(tmp_path, backend_url=backend.url, **settings(tmp_path)) as one,
        raw_client(one.port) as client,
    ):
        await client.send(post("/v1/chat/completions", chat_body(stream=True)))
        head = await client.reader.readuntil(b'"Hi"')
        assert b"200" in head
        driver = one.store._driver  # type: ignore[attr-defined]
        monkeypatch.setattr(driver, "commit", fails)
        monkeypatch.setattr(driver, "probe", fails)
        go_on.set()
        rest = await client.read_all()
        assert b"STORAGE_UNAVAILABLE" in rest
        assert b"refund" not in rest
        assert b"[DONE]" not in rest
        monkeypatch.undo()
        assert await eventually(lambda: one.store.health().ready, within_s=5)
        assert await tool_records(one) == []


async def test_a_client_that_leaves_while_a_call_is_held(tmp_path: Path) -> None:
    """A call that was never complete was never judged; the answer's fate is `client_gone`."""
    held = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(HEAD + chunks(FRAMES[:3]))
        held.set()
        await wire.closed()

    async with (
        raw_server(script) as backend,
        running_gateway(tmp_path, backend_url=backend.url, **settings(tmp_path)) as one,
    ):
        async with raw_client(one.port) as client:
            await client.send(post("/v1/chat/completions", chat_body(stream=True)))
            await client.reader.readuntil(b'"Hi"')
            await held.wait()
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "client_gone"
        assert await tool_records(one) == []


async def test_a_backend_that_breaks_off_behind_a_released_call(tmp_path: Path) -> None:
    """The call went on, and its record says that the answer around it was cut."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(HEAD + chunks(FRAMES[:-1]))
        await asyncio.sleep(0.05)
        wire.reset()

    async with (
        raw_server(script) as backend,
        running_gateway(tmp_path, backend_url=backend.url, **settings(tmp_path)) as one,
        raw_client(one.port) as client,
    ):
        await client.send(post("/v1/chat/completions", chat_body(stream=True)))
        answer = await client.read_all()
        assert b'"refund"' in answer
        outcomes = await one.outcomes(count=2)
        assert [outcome["fate"] for outcome in outcomes] == ["cut", "cut"]


async def test_a_released_call_awaits_its_outcome(tmp_path: Path) -> None:
    """So that one which a killed gateway left open is found, and marked unknown by the next one."""
    async with running_gateway(tmp_path, **settings(tmp_path)) as one:
        from gateway.pipeline.tooljudge import Asker, ToolJudge
        from gateway.toolcalls import tool_desk
        from tests.kit.tooldesk import asked

        gateway = one.gateway
        desk = tool_desk(gateway._config, one.store, gateway._clock, gateway._ids, gateway._metrics)
        assert desk is not None
        snapshot = gateway._live.snapshot
        principal = snapshot.keys.principal(None)
        judge = ToolJudge(desk, Asker("01LLM", principal, {"correlation_id": "r"}, snapshot))
        await judge.judge([asked("refund", SMALL)])
        [open_one] = await one.store.dangling(limit=10)
        assert open_one.action_type == "shop.refund"
