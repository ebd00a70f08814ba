"""The section `mcp`: what it takes, what it refuses, and that nothing of it is a default."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.mcp import McpConfig

SERVER: Any = {"name": "shop", "url": "http://127.0.0.1:9/mcp"}


def test_without_servers_there_is_no_gate() -> None:
    """The defaults name none, and hold no secret."""
    config = McpConfig()
    assert (config.servers, config.origins, config.state_secret) == ((), (), None)


def test_the_least_server() -> None:
    """A name and an address; nothing it says of itself is believed."""
    [server] = McpConfig(servers=(SERVER,)).servers
    assert (server.token, server.trust_annotations, server.tools, server.answers) == (None, False, (), {})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Shop"},
        {"name": "a_b"},
        {"name": "-a"},
        {"name": "a/b"},
        {"name": ""},
        {"url": None},
        {"tools": [{"name": "x", "action": "a.b"}, {"name": "x", "action": "a.c"}]},
        {"answers": {"a": "object"}},
        {"answers": {"read_only_hint": "boolean"}},
        {"answers": {"gate_finding": "string"}},
        {"ask_s": 0},
        {"connections_max": 0},
        {"trust": True},
    ],
)
def test_what_a_server_may_not_say(wrong: dict[str, Any]) -> None:
    """Names that no action type could hold, tools twice, evidence that is the gateway's own."""
    with pytest.raises(ValidationError):
        McpConfig(servers=({**SERVER, **wrong},))


@pytest.mark.parametrize(
    "wrong",
    [
        {"servers": (SERVER, SERVER)},
        {"state_secret": "short"},
        {"origins": ("https://a.example/path",)},
        {"origins": ("*",)},
        {"origins": ("null",)},
        {"state_ttl_s": 0},
        {"body_bytes_max": 0},
    ],
)
def test_what_the_section_may_not_say(wrong: dict[str, Any]) -> None:
    """Two servers of one name, a password for a secret, origins that are none."""
    with pytest.raises(ValidationError):
        McpConfig(**wrong)
