"""What a server is asked before a call of a tool that nobody has listed: seldom, and within bounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.kernel.errors import UpstreamBrokenError, UpstreamError
from gateway.pipeline.pins import Pins
from gateway.proxy.mcp.learn import Learner
from gateway.upstream.backend import HttpBackend
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import read_endpoint
from gateway.wire.mcp.revision import Era
from tests.kit.mcp import json_answer, response, sse, sse_head, stub_server, tool
from tests.kit.rawpeer import Message, Wire, chunked
from tests.unit.gateway.pipeline.conftest import desk, policies  # noqa: F401 - fixtures


def at(ask: Any, url: str) -> Any:
    """The same call at a server that listens."""
    target, path = read_endpoint(url, where="x")
    backend = HttpBackend("shop", ConnectionPool(target, connect_s=1))
    return replace(ask, server=replace(ask.server, backend=backend, path=path))


@pytest.fixture
def learner(desk) -> Learner:  # noqa: F811 - the fixture
    """A learner on an empty store."""
    return Learner(Pins(desk.store, desk.clock, desk.ids), desk.clock, desk.ids)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("era", list(Era))
async def test_a_tool_is_learnt_and_not_asked_for_again(learner, make_ask, era: Era, streamed: bool) -> None:
    """In the session of the caller, without the headers of its call."""

    async def listed(wire: Wire, _: Message, message: dict[str, Any]) -> None:
        body = response(message, {"tools": [tool("refund")]})
        await wire.send(sse_head() + chunked(b": x\n\n" + sse(body)) if streamed else json_answer(body))

    async with stub_server() as stub:
        stub.answers["tools/list"] = listed
        ask = at(make_ask(era=era), stub.url)
        headers = (
            (b"mcp-session-id", b"s1"),
            (b"mcp-name", b"refund"),
            (b"Mcp-Param-R", b"eu"),
            (b"authorization", b"x"),
        )
        ask = replace(ask, headers=headers)
        for _ in range(3):
            assert (await learner.standing(ask)).in_force is not None
        [sent] = stub.requests
        assert sent.header("mcp-session-id") == ("s1" if era is Era.SESSIONS else None)
        assert sent.header("mcp-method") == ("tools/list" if era is Era.STATELESS else None)
        assert not {"mcp-name", "mcp-param-r", "authorization"} & {name for name, _ in sent.headers}
        await ask.server.backend.close()


async def test_unknown_tools_are_no_load_on_the_server(learner, make_ask, desk) -> None:  # noqa: F811
    """One look every two seconds, whoever calls what."""
    async with stub_server() as stub:
        ask = at(make_ask("nobody"), stub.url)
        for _ in range(5):
            assert (await learner.standing(ask)).pin is None
        assert len(stub.requests) == 1
        desk.clock.now_s += 2.0
        await learner.standing(ask)
        assert len(stub.requests) == 2
        await ask.server.backend.close()


async def test_endless_pages_end(learner, make_ask) -> None:
    """A server that always has another page is asked for twenty."""

    async def endless(wire: Wire, _: Message, message: dict[str, Any]) -> None:
        await wire.send(json_answer(response(message, {"tools": [], "nextCursor": "again"})))

    async with stub_server() as stub:
        stub.answers["tools/list"] = endless
        ask = at(make_ask("nobody"), stub.url)
        assert (await learner.standing(ask)).pin is None
        assert len(stub.requests) == 20
        await ask.server.backend.close()


@pytest.mark.parametrize(
    ("body", "status", "fails"),
    [
        (b'{"jsonrpc":"2.0","id":"other","result":{"tools":[]}}', "200 OK", True),
        (b"no json", "200 OK", True),
        (b"{}", "401 Unauthorized", True),
        (b"{}", "302 Found", True),
        (b'{"error":{"code":-32600}}', "400 Bad Request", False),
        (b"{}", "404 Not Found", False),
    ],
)
async def test_a_server_that_does_not_list(learner, make_ask, body: bytes, status: str, fails: bool) -> None:
    """What is no answer is its fault; one that lists to nobody without a session just has no tools."""

    async def odd(wire: Wire, _: Message, __: dict[str, Any]) -> None:
        await wire.send(json_answer(body, status=status))

    async with stub_server() as stub:
        stub.answers["tools/list"] = odd
        ask = at(make_ask("nobody"), stub.url)
        if fails:
            with pytest.raises(UpstreamBrokenError):
                await learner.standing(ask)
        else:
            assert (await learner.standing(ask)).pin is None
        await ask.server.backend.close()


async def test_what_is_held_stays_held_where_the_server_is_down(learner, make_ask, tmp_path: Path) -> None:
    """Its call is refused for what is known; a tool of which nothing is known is an error of the server."""
    async with stub_server(tools=[tool("refund")]) as stub:
        ask = at(make_ask("refund"), stub.url)
        await learner.standing(ask)
        stub.tools[0]["description"] = "other"
        learner.pins._known.clear()
        await learner.standing(ask)
        unknown = at(make_ask("nobody"), stub.url)
        await ask.server.backend.close()
    learner._asked_s.clear()
    assert (await learner.standing(at(make_ask("refund"), stub.url))).pin is not None
    learner._asked_s.clear()
    with pytest.raises(UpstreamError):
        await learner.standing(unknown)
