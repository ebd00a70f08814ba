"""MCP servers for tests: the official one over a real socket, and one whose every answer a test decides.

    async with official_server(MCPServer("shop")) as url: ...

    async with stub_server(tools=[tool("refund")]) as stub, mcp_gateway(tmp_path, stub.url) as one:
        answer = await call(one, "refund", {"amount": 5})
        assert stub.calls == [...]

`call`, `listing` and `post` write requests of either revision by hand; `headers` replaces or, with None,
takes out one of those that the revision wants.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
import uvicorn
from mcp.server.mcpserver import MCPServer

from gateway.wire.mcp.revision import CAPABILITIES_KEY, VERSION_KEY, Era
from tests.kit.gateways import RunningGateway, running_gateway
from tests.kit.rawpeer import Message, RawServer, Wire, raw_client, raw_server

NEW: Final = Era.STATELESS
OLD: Final = Era.SESSIONS
ERAS: Final = (OLD, NEW)
POLICY: Final = """
schema_version: policy.v0
policy_id: shop
policy_version: "1"
defaults: {mode: enforce, default_verdict: ABSTAIN, default_reason_code: TOOL_NOT_ALLOWED}
rules:
  - id: Q1
    stage: REQUIREMENTS
    when: {action_type: shop.close}
    if: {evidence.confirmed_present: false}
    then:
      verdict: QUERY
      reason_codes: [MISSING_EVIDENCE]
      queries: [{field: evidence.confirmed, question: Has the customer confirmed it?}]
  - id: B1
    stage: HARD_BLOCKS
    when: {action_type: mcp.shop_wipe}
    then: {verdict: ABSTAIN, reason_codes: [TOOL_NOT_ALLOWED]}
  - id: E1
    stage: ESCALATIONS
    when: {action_type: shop.refund}
    if: {amount_usd_gt: 100}
    then: {verdict: ESCALATE, reason_codes: [REFUND_OVER_ESCALATION_LIMIT]}
  - id: B2
    stage: HARD_BLOCKS
    when: {action_type: shop.refund}
    if: {amount_usd_gt: 1000}
    then: {verdict: ABSTAIN, reason_codes: [TOOL_NOT_ALLOWED]}
  - id: T1
    stage: TRUST_PATHS
    when: {action_type_in: [shop.refund, shop.close, mcp.shop_read]}
    then: {verdict: TRUST, reason_codes: [TOOL_CALL_OK]}
"""
"""`read` is trusted, `refund` by its amount, `close` once it is confirmed; `wipe` and all else is refused."""
TOOLS: Final = [
    {
        "name": "refund",
        "action": "shop.refund",
        "evidence": {"order": "/order"},
        "amount": {"value": "/amount"},
    },
    {"name": "close", "action": "shop.close"},
]


@contextlib.asynccontextmanager
async def official_server(server: MCPServer[Any]) -> AsyncIterator[str]:
    """Serve the official SDK's server on a free port; yield the URL of its endpoint."""
    config = uvicorn.Config(server.streamable_http_app(), port=0, log_level="error", ws="none")
    served = uvicorn.Server(config)
    task = asyncio.get_running_loop().create_task(served.serve())
    while not served.started:
        assert not task.done(), task
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{served.servers[0].sockets[0].getsockname()[1]}/mcp"
    finally:
        served.should_exit = served.force_exit = True
        await task


def tool(name: str, **members: Any) -> dict[str, Any]:
    """A definition of a tool."""
    return {"name": name, "description": f"The tool {name}.", "inputSchema": {"type": "object"}, **members}


Answer: TypeAlias = Callable[[Wire, Message, dict[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Stub:
    """A server that answers plainly, until a test says otherwise."""

    tools: list[dict[str, Any]]
    answers: dict[str, Answer] = field(default_factory=dict)
    """By method: `GET` and `DELETE` among them."""
    requests: list[Message] = field(default_factory=list)
    raw: RawServer | None = None

    @property
    def url(self) -> str:
        """The URL of its endpoint."""
        assert self.raw is not None
        return f"http://127.0.0.1:{self.raw.port}/mcp"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that came, in order."""
        return [orjson.loads(request.body) for request in self.requests if request.body]

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The parameters of the calls that came: nothing else can do anything."""
        return [message["params"] for message in self.messages if message.get("method") == "tools/call"]

    async def converse(self, wire: Wire) -> None:
        """Answer requests on one connection until it closes."""
        while True:
            request = await wire.read_request()
            self.requests.append(request)
            message = orjson.loads(request.body) if request.body else {}
            method = message.get("method") or request.start.split(" ")[0]
            await self.answers.get(method, self._plainly)(wire, request, message)

    async def _plainly(self, wire: Wire, request: Message, message: dict[str, Any]) -> None:
        del request
        if "id" not in message or "method" not in message:
            await wire.send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            return
        result: dict[str, Any] = {"content": [{"type": "text", "text": "done"}], "resultType": "complete"}
        if message["method"] == "tools/list":
            result = {"tools": self.tools, "resultType": "complete", "ttlMs": 300_000, "cacheScope": "public"}
        await wire.send(json_answer(response(message, result)))


def response(message: dict[str, Any], result: Any) -> bytes:
    """A response to a message."""
    return orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})


def json_answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """An HTTP answer with a JSON body."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def sse_head(*headers: str) -> bytes:
    """The head of a stream of events, in chunks."""
    lines = ["HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def sse(data: bytes, *, end: str = "\n", event_id: str = "") -> bytes:
    """One event."""
    lines = ([f"id: {event_id}"] if event_id else []) + ["event: message", f"data: {data.decode()}", "", ""]
    return end.join(lines).encode()


@contextlib.asynccontextmanager
async def stub_server(*, tools: list[dict[str, Any]] | None = None) -> AsyncIterator[Stub]:
    """Serve a stub on a free port."""
    stub = Stub([tool(name) for name in ("read", "refund", "close", "wipe")] if tools is None else tools)
    async with raw_server(stub.converse) as raw:
        stub.raw = raw
        yield stub


@contextlib.asynccontextmanager
async def mcp_gateway(
    directory: Path, url: str, *, server: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway with `url` behind `/mcp/shop`, under `POLICY`."""
    policy = directory / "shop.yml"
    policy.write_text(POLICY)
    entry = {"name": "shop", "url": url, "tools": TOOLS, **(server or {})}
    mcp = {"state_secret": "s" * 32, "servers": [entry], **settings.pop("mcp", {})}
    rules = {"path": str(policy), "packs": [], **settings.pop("policy", {})}
    async with running_gateway(directory, policy=rules, mcp=mcp, **settings) as one:
        yield one


def meta(**capabilities: Any) -> dict[str, Any]:
    """The `_meta` that the newer revision wants."""
    return {VERSION_KEY: NEW.value, CAPABILITIES_KEY: capabilities}


async def post(
    one: RunningGateway,
    body: bytes | dict[str, Any],
    *,
    era: Era = NEW,
    path: str = "/mcp/shop",
    headers: dict[str, str | None] | None = None,
) -> Message:
    """Send one message and read its answer, on a connection of its own."""
    message = {} if isinstance(body, bytes) else body
    wanted: dict[str, str | None] = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": era.value,
    }
    if era is NEW and "id" in message:
        wanted["mcp-method"] = message.get("method")
        if "name" in message.get("params", {}):
            wanted["mcp-name"] = message["params"]["name"]
    wanted |= headers or {}
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"POST {path} HTTP/1.1", "host: gateway", f"content-length: {len(text)}"]
    lines += [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    async with raw_client(one.port) as client:
        await client.send("\r\n".join([*lines, "", ""]).encode() + text)
        return await client.read_answer()


def request(method: str, params: dict[str, Any], *, era: Era = NEW, **capabilities: Any) -> dict[str, Any]:
    """A request of either revision."""
    more = {"_meta": meta(**capabilities)} if era is NEW else {}
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **more}}


async def call(
    one: RunningGateway,
    name: str,
    arguments: Any = None,
    *,
    era: Era = NEW,
    elicitation: Any = None,
    headers: dict[str, str | None] | None = None,
    **params: Any,
) -> Message:
    """Call a tool. With `elicitation` the client declares that it shows forms."""
    capabilities = {} if elicitation is None else {"elicitation": elicitation}
    wanted = {"name": name, **({} if arguments is None else {"arguments": arguments}), **params}
    return await post(one, request("tools/call", wanted, era=era, **capabilities), era=era, headers=headers)


async def listing(
    one: RunningGateway, *, era: Era = NEW, headers: dict[str, str | None] | None = None
) -> Message:
    """Ask for the tools."""
    return await post(one, request("tools/list", {}, era=era), era=era, headers=headers)


def names_of(answer: Message) -> list[str]:
    """The names of the tools in a list."""
    return [one["name"] for one in orjson.loads(answer.body)["result"]["tools"]]


def result_of(answer: Message) -> dict[str, Any]:
    """The result in a JSON answer."""
    result: dict[str, Any] = orjson.loads(answer.body)["result"]
    return result


def error_of(answer: Message) -> dict[str, Any]:
    """The error in a JSON answer."""
    error: dict[str, Any] = orjson.loads(answer.body)["error"]
    return error
