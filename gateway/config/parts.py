"""What can be configured: the sections of the file as frozen models, and what must hold between them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gateway.config.mcp import McpConfig
from gateway.config.section import Part
from gateway.kernel import bounds
from gateway.kernel.types import Mode
from gateway.policy.builtin import PACKS, SUPPORT

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Seconds = Annotated[float, Field(gt=0, le=86_400)]
_Bytes = Annotated[int, Field(gt=0, le=1 << 30)]
_Port = Annotated[int, Field(ge=0, le=65_535)]
_KeyHash = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ListenConfig(Part):
    """Where the gateway listens. Port 0 takes a free one and prints it."""

    host: str = "127.0.0.1"
    port: _Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: _Port = 8081


class StorageConfig(Part):
    """Where records are kept."""

    url: str = "sqlite:.lumyn/lumyn.db"


class PolicyConfig(Part):
    """What decides. A path is looked for from the working directory, then among the built-in ones."""

    path: str = SUPPORT
    packs: tuple[str, ...] = PACKS
    mode: Mode | None = Mode.ENFORCE
    advisory_allowed: bool = False


class RedactionConfig(Part):
    """The least that is removed from inline contexts; a request can only ask for more."""

    profile: Literal["default", "strict", "off"] = "default"


class MemoryConfig(Part):
    """How many remembered outcomes a record names."""

    top_k: Annotated[int, Field(ge=0, le=100)] = 5


class KeyConfig(Part):
    """An API key: who holds it, and what it covers."""

    name: Name
    hash: _KeyHash
    tenant: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    actions: tuple[str, ...] = ("*",)
    intents: tuple[str, ...] = ("*",)


class BackendConfig(Part):
    """An OpenAI-compatible origin."""

    name: Name
    url: str
    api_key: str | None = None
    connections_max: Annotated[int, Field(ge=1, le=65_536)] = bounds.UPSTREAM_CONNECTIONS_MAX
    dialect: Literal["llm-d>=0.11", "llm-d-0.9", "gaie", "vllm", "none"] = "none"
    metrics_url: str | None = None


class ModelConfig(Part):
    """A model, the backend that serves it, and what a planner may know: US dollars per million tokens."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    backend: Name
    price_in: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    price_out: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    quality: Annotated[float, Field(ge=0, le=1)] = 1.0
    context: Annotated[int, Field(ge=1, le=100_000_000)] = 131_072


class LimitsConfig(Part):
    """Deadlines and sizes; the defaults and their reasons stand in `gateway/kernel/bounds.py`."""

    llm_body_bytes_max: _Bytes = bounds.LLM_BODY_BYTES_MAX
    decide_body_bytes_max: _Bytes = bounds.DECIDE_BODY_BYTES_MAX
    header_deadline_s: _Seconds = bounds.HEADER_DEADLINE_S
    body_deadline_s: _Seconds = bounds.BODY_DEADLINE_S
    keepalive_s: _Seconds = bounds.KEEPALIVE_S
    client_stall_s: _Seconds = bounds.CLIENT_STALL_S
    connect_s: _Seconds = bounds.UPSTREAM_CONNECT_S
    first_byte_s: _Seconds = bounds.UPSTREAM_FIRST_BYTE_S
    idle_s: _Seconds = bounds.UPSTREAM_IDLE_S
    upstream_keepalive_s: _Seconds = bounds.UPSTREAM_KEEPALIVE_S
    drain_s: _Seconds = bounds.DRAIN_S


class LogConfig(Part):
    """What goes to standard error, as JSON lines."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    decisions: bool = False


class ServiceConfig(Part):
    """Secrets of the service itself."""

    signing_secret: str | None = None


class Config(Part):
    """Everything that can be configured."""

    listen: ListenConfig = ListenConfig()
    storage: StorageConfig = StorageConfig()
    policy: PolicyConfig = PolicyConfig()
    redaction: RedactionConfig = RedactionConfig()
    memory: MemoryConfig = MemoryConfig()
    keys: tuple[KeyConfig, ...] = ()
    backends: tuple[BackendConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    intents: tuple[dict[str, Any], ...] = ()
    """As `schemas/intent.v1.json` says; read by the controller, which alone knows what they mean."""
    mcp: McpConfig = McpConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    service: ServiceConfig = ServiceConfig()

    @model_validator(mode="after")
    def _holds_together(self) -> Config:
        _unique("keys", [key.name for key in self.keys])
        _unique("keys", [key.hash for key in self.keys])
        _unique("backends", [backend.name for backend in self.backends])
        _unique("models", [model.name for model in self.models])
        names = {backend.name for backend in self.backends}
        for model in self.models:
            if model.backend not in names:
                raise ValueError(
                    f"model `{model.name}` names the backend `{model.backend}`, which is not there"
                )
        # A signing secret guards `/v0` and `/admin` only: without keys `/v1` would be open to everybody.
        if not self.keys and not is_loopback(self.listen.host):
            raise ValueError(
                f"listen.host `{self.listen.host}` is public and no keys are configured: add `keys`, "
                "or listen on 127.0.0.1",
            )
        if not self.service.signing_secret and not is_loopback(self.listen.admin_host):
            raise ValueError(
                f"listen.admin_host `{self.listen.admin_host}` is public and shows every tenant's records: "
                "set `service.signing_secret`, or listen on 127.0.0.1",
            )
        return self


def is_loopback(host: str) -> bool:
    """Tell whether a host is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _unique(what: str, names: list[str]) -> None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ValueError(f"{what}: `{twice}` stands there twice")
