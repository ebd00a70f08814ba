"""The routes of the gate: one path a server, three methods, and who may use them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from gateway.auth.keys import KeyRing, Principal
from gateway.kernel.errors import ForbiddenError, MethodNotAllowedError, ProtocolError
from gateway.proxy.mcp.gate import McpGate
from tests.kit.fakeclient import FakeClient


class Client(FakeClient):
    """A client with a method."""

    method = "POST"
    begun = False


class Passed:
    """A passage that notes what passes."""

    def __init__(self) -> None:
        self.ways: list[Any] = []
        self.stopped = False

    async def go(self, way: Any) -> None:
        self.ways.append(way)

    def end_listening(self) -> None:
        self.stopped = True


@pytest.fixture
def passed() -> Passed:
    """What passed."""
    return Passed()


@pytest.fixture
def gate(server, passed) -> McpGate:
    """A gate in front of two servers, for everybody."""
    bench: Any = SimpleNamespace(live=SimpleNamespace(snapshot=SimpleNamespace(keys=KeyRing([]))))
    servers = [server, replace(server, name="bank")]
    around: Any = None
    return McpGate(servers, bench, around, passed, origins=frozenset({"https://a.example"}), body_bytes_max=5)


async def ask(gate: McpGate, method: str, body: Any = b"", **headers: str) -> Client:
    """Ask the first server's route."""
    [route] = [route for route in gate.routes() if (route.method, route.path) == (method, "/mcp/shop")]
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    client = Client("/mcp/shop", text, {name.replace("_", "-"): value for name, value in headers.items()})
    client.method = method
    await route.handler(client)  # type: ignore[arg-type]
    return client


def test_each_server_has_its_path(gate) -> None:
    """With three methods, and the bound of a body."""
    assert {(route.method, route.path) for route in gate.routes()} == {
        (method, f"/mcp/{name}") for method in ("POST", "GET", "DELETE") for name in ("shop", "bank")
    }
    assert {route.body_bytes_max for route in gate.routes()} == {5}


def message(method: str, **members: Any) -> dict[str, Any]:
    """A message of the older revisions."""
    return {"jsonrpc": "2.0", "method": method, **members}


@pytest.mark.parametrize(
    ("body", "rpc_id", "lists", "listens"),
    [
        (message("tools/list", id=1), 1, True, False),
        (message("ping", id="a"), "a", False, False),
        (message("subscriptions/listen", id=1), 1, False, True),
        (message("notifications/initialized"), None, False, False),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, None, False, False),
    ],
)
async def test_what_passes_and_as_what(
    gate, passed, body: Any, rpc_id: Any, lists: bool, listens: bool
) -> None:
    """A response of a client awaits none itself, whatever its id is."""
    await ask(gate, "POST", body)
    [way] = passed.ways
    assert (way.rpc_id, way.lists, way.listens, way.body) == (rpc_id, lists, listens, orjson.dumps(body))


async def test_streams_and_ends_of_sessions(gate, passed) -> None:
    """A stream may hold a list that is gone on with; the newer revision has neither."""
    await ask(gate, "GET")
    await ask(gate, "DELETE", mcp_protocol_version="2025-11-25")
    assert [(way.lists, way.listens) for way in passed.ways] == [(True, True), (False, False)]
    for method in ("GET", "DELETE"):
        with pytest.raises(MethodNotAllowedError) as caught:
            await ask(gate, method, mcp_protocol_version="2026-07-28")
        assert caught.value.allowed == ("POST",)
    with pytest.raises(ProtocolError):
        await ask(gate, "GET", mcp_protocol_version="2031-01-01")
    assert len(passed.ways) == 2


async def test_origins(gate, passed) -> None:
    """A page that is listed passes; any other is told nothing more."""
    await ask(gate, "POST", message("ping", id=1), origin="https://a.example")
    assert len(passed.ways) == 1
    for origin in ("https://b.example", "null", "https://a.example.evil"):
        with pytest.raises(ForbiddenError):
            await ask(gate, "GET", origin=origin)
    assert len(passed.ways) == 1


async def test_without_a_key_nothing_is_read(gate, passed) -> None:
    """401 in the protocol's shape."""
    digest = "sha256:" + "0" * 64
    gate._bench.live.snapshot.keys = KeyRing([(digest, Principal("bot", None))])
    client = await ask(gate, "POST", message("ping", id=1))
    assert client.status == 401
    assert client.sent_headers["www-authenticate"].startswith("Bearer")
    assert orjson.loads(client.answered)["error"]["code"] == 401
    assert passed.ways == []


@pytest.mark.parametrize(
    ("body", "status", "code", "rpc_id"),
    [
        (b"{", 400, -32700, None),
        (b"[]", 400, -32600, None),
        ({"jsonrpc": "2.0", "id": 7, "method": 5}, 400, -32600, 7),
        (message("tools/run", id="x"), 200, -32601, "x"),
        (message("ping", id=3, params={"arguments": {}}), 0, None, None),
    ],
)
async def test_errors_bear_the_id_of_the_message(
    gate, body: Any, status: int, code: Any, rpc_id: Any
) -> None:
    """As far as it has one."""
    client = await ask(gate, "POST", body)
    assert client.status == status
    if code is not None:
        told = orjson.loads(client.answered)
        assert (told["error"]["code"], told["id"]) == (code, rpc_id)


async def test_twins_among_arguments_of_anything_but_a_call(gate, passed) -> None:
    """Only a call can be recorded as what it is; anything else is refused as it stands."""
    body = b'{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"arguments":{"a":1,"a":2}}}'
    client = await ask(gate, "POST", body)
    assert orjson.loads(client.answered)["error"]["code"] == -32600
    assert passed.ways == []


def test_a_stop_is_passed_on(gate, passed) -> None:
    """Streams that only listen end with it."""
    gate.stop()
    assert passed.stopped
