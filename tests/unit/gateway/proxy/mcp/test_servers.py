"""Configured servers: their address, their types, and what is refused before anything listens."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.config.mcp import McpServerConfig
from gateway.kernel.errors import InvalidConfigError
from gateway.proxy.mcp.servers import Server, make_server


def made(**changed: Any) -> Server:
    """A server of the configuration."""
    entry = McpServerConfig.model_validate({"name": "my-shop", "url": "http://127.0.0.1:9/mcp", **changed})
    return make_server(entry, [tool.rule() for tool in entry.tools], connect_s=1, keepalive_s=1)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:9/mcp", "/mcp"),
        ("http://127.0.0.1:9/mcp/", "/mcp/"),
        ("http://127.0.0.1:9", "/"),
        ("https://h.example/a/v1", "/a/v1"),
    ],
)
async def test_the_path_is_the_one_of_the_url(url: str, path: str) -> None:
    """Exactly: a slash more is another resource, and `/v1` means nothing here."""
    assert made(url=url).path == path


@pytest.mark.parametrize(
    "url", ["ftp://h/x", "http://user:pass@h/x", "http://h/x?token=a", "h/x", "http://h:0/"]
)
async def test_addresses_that_are_none(url: str) -> None:
    """The error names the key and quotes nothing of what may be a secret."""
    with pytest.raises(InvalidConfigError) as caught:
        made(url=url)
    assert "mcp.servers.my-shop.url" in caught.value.message
    assert "pass" not in caught.value.message


async def test_types_fit_the_contract() -> None:
    """A hyphen becomes an underscore; tools that nobody offers have one type among them."""
    server = made(tools=[{"name": "refund", "action": "shop.refund"}])
    types = [server.tools.action_type(name) for name in ("refund", "Get-Order", "x/y")]
    assert types == ["shop.refund", "mcp.my_shop_get_order", "mcp.my_shop_x_y"]
    assert server.unknown_type == "mcp.my_shop__unknown"
    assert re.fullmatch(r"[a-z0-9]+(\.[a-z0-9_]+)+", server.unknown_type)


async def test_terms_are_milliseconds() -> None:
    """Of approvals, as the store keeps them."""
    server = made(ask_s=1.5, use_s=2, trust_annotations=True, answers={"n": "integer"})
    assert (server.terms.ask_ms, server.terms.use_ms) == (1500, 2000)
    assert (server.trusted, dict(server.kinds)) == (True, {"n": "integer"})
