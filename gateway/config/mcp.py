"""The MCP servers behind `/mcp/{server}`: where they are, how far they are believed, what their tools are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.config.section import Part
from gateway.config.tools import RESERVED_EVIDENCE, ToolConfig
from gateway.kernel import bounds
from gateway.wire.mcp.state import SECRET_CHARS_MIN

_ServerName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")]
_Origin = Annotated[str, Field(max_length=256, pattern=r"^[a-z][a-z0-9+.-]*://[^/\s]+$")]


class McpServerConfig(Part):
    """One MCP server that speaks streamable HTTP."""

    name: _ServerName
    url: str
    token: str | None = None
    trust_annotations: bool = False
    ask_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = bounds.APPROVAL_ASK_S
    use_s: Annotated[float, Field(gt=0, le=30 * 86_400)] = bounds.APPROVAL_USE_S
    connections_max: Annotated[int, Field(ge=1, le=65_536)] = bounds.MCP_CONNECTIONS_MAX
    tools: tuple[ToolConfig, ...] = Field(default=(), max_length=bounds.TOOL_RULES_MAX)
    answers: dict[str, Literal["string", "number", "integer", "boolean"]] = Field(default={}, max_length=256)

    @model_validator(mode="after")
    def _holds_together(self) -> McpServerConfig:
        names = [tool.name for tool in self.tools]
        if len(set(names)) != len(names):
            twice = next(name for at, name in enumerate(names) if name in names[:at])
            raise ValueError(f"tools: `{twice}` stands there twice")
        if taken := sorted(RESERVED_EVIDENCE & self.answers.keys()):
            raise ValueError(f"answers: `{taken[0]}` is evidence that the gateway gives")
        return self


class McpConfig(Part):
    """What is common to all servers."""

    origins: tuple[_Origin, ...] = ()
    state_secret: Annotated[str, Field(min_length=SECRET_CHARS_MIN)] | None = None
    state_ttl_s: Annotated[float, Field(gt=0, le=86_400)] = bounds.MCP_STATE_TTL_S
    body_bytes_max: Annotated[int, Field(gt=0, le=1 << 30)] = bounds.MCP_BODY_BYTES_MAX
    listen_idle_s: Annotated[float, Field(gt=0, le=86_400)] = bounds.MCP_LISTEN_IDLE_S
    servers: tuple[McpServerConfig, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> McpConfig:
        names = [server.name for server in self.servers]
        twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
        if twice is not None:
            raise ValueError(f"servers: `{twice}` stands there twice")
        return self
