"""The gate of a running gateway: made where servers are configured, and closed with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kernel.errors import InvalidConfigError
from gateway.pipeline.gatehouse import gate_policies
from tests.kit.gateways import running_gateway
from tests.kit.mcp import call, error_of, listing, mcp_gateway, result_of, stub_server
from tests.kit.rawpeer import raw_client


async def test_without_servers_there_is_no_path(tmp_path: Path) -> None:
    """Nothing of it exists: neither the path of a server nor the pages of its pins."""
    async with running_gateway(tmp_path) as one:
        assert one.gateway._mcp is None
        assert (await call(one, "read", {})).status == 404
        async with raw_client(one.admin_port) as client:
            await client.send(b"GET /admin/mcp/pins HTTP/1.1\r\nhost: g\r\n\r\n")
            assert (await client.read_answer()).status == 404


async def test_the_gates_policy_is_kept_before_anything_is_decided(tmp_path: Path) -> None:
    """So that every record of it can be replayed."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        assert await one.store.policy(gate_policies().main.policy_hash) is not None


async def test_connections_to_servers_close_with_the_gateway(tmp_path: Path) -> None:
    """None is left behind."""
    async with stub_server() as stub, mcp_gateway(tmp_path, stub.url) as one:
        await listing(one)
        surface = one.gateway._mcp
        assert surface is not None
        await one.gateway.close()
        assert all(server.backend._pool._closed for server in surface.servers)


@pytest.mark.parametrize(("secret", "opens"), [("s" * 32, True), (None, False)])
async def test_a_held_call_outlives_the_process_under_a_secret(
    tmp_path: Path, secret: str | None, opens: bool
) -> None:
    """Without one each process seals what only itself can open."""
    mcp = {"state_secret": secret}
    async with stub_server() as stub:
        async with mcp_gateway(tmp_path, stub.url, mcp=mcp) as one:
            await listing(one)
            state = result_of(await call(one, "close", {}, elicitation={}))["requestState"]
        async with mcp_gateway(tmp_path, stub.url, mcp=mcp) as one:
            reply = {"lumyn.evidence": {"action": "accept", "content": {"confirmed": "yes"}}}
            told = await call(one, "close", {}, elicitation={}, requestState=state, inputResponses=reply)
            if opens:
                assert result_of(told).get("isError") is not True
            else:
                assert error_of(told)["code"] == -32602


async def test_an_address_that_is_none_stops_the_start(tmp_path: Path) -> None:
    """In one line that names the key."""
    with pytest.raises(InvalidConfigError, match=r"mcp\.servers\.shop\.url"):
        async with mcp_gateway(tmp_path, "ftp://nowhere"):
            pass
