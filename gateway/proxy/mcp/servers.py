"""The configured MCP servers, ready to be spoken to, and what their tools are as actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.pipeline.approvals import Terms
from gateway.upstream.backend import HttpBackend
from gateway.upstream.pool import ConnectionPool
from gateway.upstream.target import read_endpoint
from gateway.wire.toolmap import ToolMap, ToolRule, fitted


class ServerSettings(Protocol):
    """One entry of `mcp.servers`."""

    @property
    def name(self) -> str:
        """What stands in the path behind `/mcp/`."""
        ...

    @property
    def url(self) -> str:
        """The server's one endpoint."""
        ...

    @property
    def token(self) -> str | None:
        """The gateway's own credential there."""
        ...

    @property
    def trust_annotations(self) -> bool:
        """Whether what the server says of its tools is evidence."""
        ...

    @property
    def ask_s(self) -> float:
        """How long a person may take to approve a call."""
        ...

    @property
    def use_s(self) -> float:
        """How long an approval may be used."""
        ...

    @property
    def connections_max(self) -> int:
        """How many at a time."""
        ...

    @property
    def answers(self) -> Mapping[str, str]:
        """The types of evidence that clients are asked for."""
        ...


@dataclass(frozen=True, slots=True)
class Server:
    """One MCP server."""

    name: str
    backend: HttpBackend
    path: str
    tools: ToolMap
    trusted: bool
    """Annotations of its tools are evidence."""
    terms: Terms
    """Of the approvals of its calls."""
    kinds: Mapping[str, str]
    """JSON types of the evidence that clients are asked for; text where none is said."""

    @property
    def unknown_type(self) -> str:
        """The action type of calls to tools that it does not offer: one, so that nobody can make up more."""
        return fitted("mcp.", f"{self.name}__unknown")


def make_server(
    settings: ServerSettings, rules: Sequence[ToolRule], *, connect_s: float, keepalive_s: float
) -> Server:
    """Return a server of the configuration. Raises InvalidConfigError."""
    where = f"mcp.servers.{settings.name}.url"
    target, path = read_endpoint(settings.url, where=where)
    pool = ConnectionPool(
        target, connections_max=settings.connections_max, connect_s=connect_s, keepalive_s=keepalive_s
    )
    return Server(
        name=settings.name,
        backend=HttpBackend(settings.name, pool, api_key=settings.token, key="mcp.servers.{}.token"),
        path=path,
        tools=ToolMap(rules, prefix=fitted("mcp.", f"{settings.name}_")),
        trusted=settings.trust_annotations,
        terms=Terms(ask_ms=round(settings.ask_s * 1000), use_ms=round(settings.use_s * 1000)),
        kinds=dict(settings.answers),
    )
