"""The official SDK, client and server, through the gate: both revisions, as a program would use them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
from mcp import Client, MCPError
from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp_types import ElicitResult, ToolAnnotations
from pydantic import BaseModel

from gateway.pipeline.approvals import Approvals
from gateway.system import SystemClock
from tests.kit.gateways import RunningGateway
from tests.kit.mcp import mcp_gateway, official_server

MODES = ["legacy", "2026-07-28"]


class Sure(BaseModel):
    """What the server's own question is answered with."""

    sure: bool


def ask(amount: float) -> Elicit[Sure]:
    """The server's own question."""
    return Elicit(f"Really {amount}?", Sure)


def make_server(done: list[Any]) -> MCPServer[Any]:
    """A shop that notes what it has done."""
    server: MCPServer[Any] = MCPServer("shop", log_level="ERROR")

    @server.tool(annotations=ToolAnnotations(readOnlyHint=True))
    def read(order: str) -> str:
        done.append(("read", order))
        return f"order {order}"

    @server.tool()
    def refund(order: str, amount: float) -> str:
        done.append(("refund", order, amount))
        return f"refunded {amount}"

    @server.tool()
    def close(order: str) -> str:
        done.append(("close", order))
        return "closed"

    @server.tool()
    def wipe() -> str:
        done.append(("wipe",))
        return "gone"

    return server


@asynccontextmanager
async def shop(directory: Path) -> AsyncIterator[tuple[list[Any], RunningGateway, str]]:
    """The shop behind a gateway; yields what it does, the gateway, and the URL for clients."""
    done: list[Any] = []
    async with official_server(make_server(done)) as url, mcp_gateway(directory, url) as one:
        yield done, one, f"http://127.0.0.1:{one.port}/mcp/shop"


@pytest.mark.parametrize("mode", [*MODES, "auto"])
async def test_an_unmodified_client_uses_what_it_may(tmp_path: Path, mode: str) -> None:
    """It lists, calls, is refused and told so; the server carries out what was let through, once."""
    async with shop(tmp_path) as (done, one, url), Client(url, mode=mode) as client:
        assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
        assert [tool.name for tool in (await client.list_tools()).tools] == ["read", "refund", "close"]
        assert (await client.call_tool("read", {"order": "O1"})).content[0].text == "order O1"
        assert (await client.call_tool("refund", {"order": "O1", "amount": 5})).structured_content == {
            "result": "refunded 5.0"
        }
        refused = await client.call_tool("refund", {"order": "O1", "amount": 5000})
        assert refused.is_error
        assert refused.content[0].text.startswith("Not permitted. Do not retry.")
        for name in ("wipe", "nobody_has_it"):
            with pytest.raises(MCPError) as caught:
                await client.call_tool(name, {})
            assert caught.value.code == -32602
        assert done == [("read", "O1"), ("refund", "O1", 5.0)]
        fates = [outcome["fate"] for outcome in await one.outcomes(count=5)]
        assert fates == ["refused", "refused", "refused", "complete", "complete"]


async def test_a_form_is_filled_in_and_the_call_goes(tmp_path: Path) -> None:
    """On the newer revision the client asks its user, and repeats the call by itself."""
    asked: list[Any] = []

    async def fill_in(_: Any, params: Any) -> ElicitResult:
        asked.append((params.message, params.requested_schema))
        return ElicitResult(action="accept", content={"confirmed": "yes, by phone"})

    async with shop(tmp_path) as (done, one, url):
        async with Client(url, mode="2026-07-28", elicitation_callback=fill_in) as client:
            assert (await client.call_tool("close", {"order": "O1"})).content[0].text == "closed"
        [(message, schema)] = asked
        assert "Lumyn Gateway" in message
        assert list(schema["properties"]) == ["confirmed"]
        assert done == [("close", "O1")]
        assert [record["verdict"] for record in await one.decisions(limit=2)] == ["TRUST", "QUERY"]
        async with Client(url, mode="legacy", elicitation_callback=fill_in) as client:
            told = await client.call_tool("close", {"order": "O1"})
            assert "evidence.confirmed" in told.content[0].text
        assert len(asked) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_an_approval_is_given_elsewhere_and_used_once(tmp_path: Path, mode: str) -> None:
    """With forms the client waits for its user to say that it was given; else the agent asks again."""
    async with shop(tmp_path) as (done, one, url):
        approvals = Approvals(one.store, SystemClock())

        async def approve(approval_id: str) -> None:
            await approvals.resolve(approval_id, approve=True, by="ann", reason="a good customer")

        async def wait(_: Any, params: Any) -> ElicitResult:
            await approve(params.message.rpartition("Reference: ")[2])
            return ElicitResult(action="accept", content={"approved": True})

        async with Client(url, mode=mode, elicitation_callback=wait) as client:
            arguments = {"order": "O1", "amount": 500}
            result = await client.call_tool("refund", arguments)
            if mode == "legacy":
                assert "Approval pending" in result.content[0].text
                await approve(result.content[0].text.rpartition("Reference: ")[2])
                result = await client.call_tool("refund", arguments)
            assert result.content[0].text == "refunded 500.0"
            again = await client.call_tool("refund", arguments)
            assert "was used by decision" in again.content[0].text
        assert done == [("refund", "O1", 500.0)]


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_may_ask_too_and_is_asked_for_one_approval(tmp_path: Path, mode: str) -> None:
    """Its own question comes after the approval, as the revision has it, and the tool runs once."""
    done: list[Any] = []
    server: MCPServer[Any] = MCPServer("shop", log_level="ERROR")

    @server.tool()
    def refund(amount: float, answer: Annotated[Sure, Resolve(ask)]) -> str:
        done.append((amount, answer.sure))
        return "refunded"

    async with official_server(server) as inner, mcp_gateway(tmp_path, inner) as one:
        approvals = Approvals(one.store, SystemClock())

        async def answer(_: Any, params: Any) -> ElicitResult:
            if params.message.startswith("Really"):
                return ElicitResult(action="accept", content={"sure": True})
            approval_id = params.message.rpartition("Reference: ")[2]
            await approvals.resolve(approval_id, approve=True, by="ann", reason="fine")
            return ElicitResult(action="accept", content={"approved": True})

        url = f"http://127.0.0.1:{one.port}/mcp/shop"
        async with Client(url, mode=mode, elicitation_callback=answer) as client:
            result = await client.call_tool("refund", {"amount": 500})
            if mode == "legacy":
                pending = result.content[0].text.rpartition("Reference: ")[2]
                await approvals.resolve(pending, approve=True, by="ann", reason="fine")
                result = await client.call_tool("refund", {"amount": 500})
            assert result.content[0].text == "refunded"
        assert done == [(500.0, True)]


@pytest.mark.parametrize("mode", MODES)
async def test_progress_and_everything_else_pass(tmp_path: Path, mode: str) -> None:
    """Progress of a call, prompts and resources: the gate is not in their way."""
    server: MCPServer[Any] = MCPServer("shop", log_level="ERROR")

    @server.tool()
    async def read(steps: int, context: Context[Any, Any]) -> str:
        for step in range(steps):
            await context.report_progress(step, steps)
        return "read"

    @server.prompt()
    def greet(name: str) -> str:
        return f"Greet {name}."

    @server.resource("shop://hours")
    def hours() -> str:
        return "nine to five"

    async with official_server(server) as inner, mcp_gateway(tmp_path, inner) as one:
        seen: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            del total, message
            seen.append(done)

        async with Client(f"http://127.0.0.1:{one.port}/mcp/shop", mode=mode) as client:
            result = await client.call_tool("read", {"steps": 3}, progress_callback=progress)
            assert result.content[0].text == "read"
            assert seen == [0, 1, 2]
            assert (await client.get_prompt("greet", {"name": "Ann"})).messages[
                0
            ].content.text == "Greet Ann."
            assert (await client.read_resource("shop://hours")).contents[0].text == "nine to five"
            [prompt] = (await client.list_prompts()).prompts
            assert prompt.name == "greet"
