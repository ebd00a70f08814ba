"""What can be configured: the sections of the file as frozen models, and what must hold between them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gateway.config.actions import ActionConfig, IdempotencyConfig, OperatorConfig, check_routes
from gateway.config.answers import PassthroughConfig, ToolCallsConfig
from gateway.config.mcp import McpConfig
from gateway.config.section import Part
from gateway.config.tools import ToolConfig
from gateway.kernel import bounds
from gateway.kernel.types import Mode
from gateway.policy.builtin import PACKS, SUPPORT
from gateway.wire.statuses import ANOTHER_MIGHT, OF_THE_MOMENT

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
    watch: bool = True


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
    engine_priority: Literal["off", "vllm", "sglang"] = "off"
    isolate_cache: bool = False
    metrics_url: str | None = None


class ShareConfig(Part):
    """A backend's part in a model's traffic: how much of it, and who is asked first."""

    name: Name
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    order: Annotated[int, Field(ge=0, le=100)] = 0


class ModelConfig(Part):
    """A model, the backends that serve it, and what a planner may know: US dollars per million tokens."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    backend: Annotated[tuple[ShareConfig, ...], Field(min_length=1, max_length=bounds.CLUSTER_BACKENDS_MAX)]
    """One name, or a list of names and shares."""
    price_in: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    price_out: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    quality: Annotated[float, Field(ge=0, le=1)] = 1.0
    context: Annotated[int, Field(ge=1, le=100_000_000)] = 131_072
    in_flight_max: Annotated[int, Field(ge=1, le=65_536)] = 512
    reasoning: bool = False

    @property
    def replicas(self) -> int:
        """How many backends serve it in normal times."""
        first = min(share.order for share in self.backend)
        return sum(share.order == first for share in self.backend)

    @field_validator("backend", mode="before")
    @classmethod
    def _spelt_out(cls, value: Any) -> Any:
        """Take a name for a list of one, and a name in a list for an equal share."""
        listed = [value] if isinstance(value, str | dict) else value
        if not isinstance(listed, list | tuple):
            return listed
        return tuple({"name": one} if isinstance(one, str) else one for one in listed)


class BreakerConfig(Part):
    """When a backend is taken out of the choice, and for how long."""

    failures: Annotated[int, Field(ge=1, le=1000)] = bounds.BREAKER_FAILURES
    failure_ratio: Annotated[float, Field(gt=0, le=1)] = bounds.BREAKER_FAILURE_RATIO
    requests_min: Annotated[int, Field(ge=1, le=100_000)] = bounds.BREAKER_REQUESTS_MIN
    window_s: _Seconds = bounds.BREAKER_WINDOW_S
    open_s: _Seconds = bounds.BREAKER_OPEN_S
    open_max_s: _Seconds = bounds.BREAKER_OPEN_MAX_S
    when_all_open: Literal["try", "refuse"] = "try"


_Status = Annotated[int, Field(ge=400, le=599)]


class RetriesConfig(Part):
    """Further attempts before the first byte of an answer."""

    attempts_max: Annotated[int, Field(ge=1, le=10)] = bounds.ATTEMPTS_MAX
    total_s: _Seconds = bounds.ATTEMPTS_TOTAL_S
    statuses: tuple[_Status, ...] = tuple(sorted(ANOTHER_MIGHT))
    after_send: bool = False
    same_backend: bool = False
    backoff_s: _Seconds = bounds.BACKOFF_S
    backoff_max_s: _Seconds = bounds.BACKOFF_MAX_S
    budget_ratio: Annotated[float, Field(ge=0, le=1)] = bounds.RETRY_BUDGET_RATIO
    budget_per_s: Annotated[float, Field(ge=0, le=1000)] = bounds.RETRY_BUDGET_PER_S

    @field_validator("statuses")
    @classmethod
    def _another_might_do_better(cls, given: tuple[int, ...]) -> tuple[int, ...]:
        theirs = [status for status in given if status < 500 and status not in OF_THE_MOMENT]
        if theirs:
            allowed = ", ".join(map(str, sorted(OF_THE_MOMENT)))
            raise ValueError(f"{theirs[0]} is no matter of the moment: use {allowed}, or 500 and above")
        return given


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
    actions: tuple[ActionConfig, ...] = ()
    operators: tuple[OperatorConfig, ...] = ()
    idempotency: IdempotencyConfig = IdempotencyConfig()
    tools: Annotated[tuple[ToolConfig, ...], Field(max_length=bounds.TOOL_RULES_MAX)] = ()
    tool_calls: ToolCallsConfig = ToolCallsConfig()
    passthrough: Annotated[tuple[PassthroughConfig, ...], Field(max_length=100)] = ()
    mcp: McpConfig = McpConfig()
    breaker: BreakerConfig = BreakerConfig()
    retries: RetriesConfig = RetriesConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    service: ServiceConfig = ServiceConfig()

    @cached_property
    def source(self) -> str | None:
        """The file that it was read from, for messages: no part of what is configured. None without one."""
        return None

    def read_from(self, source: str | None) -> Config:
        """Return the same configuration, knowing its file."""
        self.__dict__["source"] = source
        return self

    @model_validator(mode="after")
    def _holds_together(self) -> Config:
        _unique("keys", [key.name for key in self.keys])
        _unique("keys", [key.hash for key in self.keys])
        _unique("backends", [backend.name for backend in self.backends])
        _unique("models", [model.name for model in self.models])
        _unique("actions", [action.name for action in self.actions])
        _unique("operators", [operator.name for operator in self.operators])
        check_routes(self.actions)
        agents = {key.hash for key in self.keys}
        for operator in self.operators:
            if operator.hash in agents:
                raise ValueError(
                    f"operator `{operator.name}` has the hash of an API key: an agent could approve itself"
                )
        _unique("tools", [tool.name for tool in self.tools])
        _unique("passthrough", [passed.path for passed in self.passthrough])
        dialects = {
            backend.name: (backend.dialect, backend.engine_priority, backend.isolate_cache)
            for backend in self.backends
        }
        for passed in self.passthrough:
            _check_backend(passed, list(dialects))
        for model in self.models:
            _check_serving(model, dialects)
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


def _check_serving(model: ModelConfig, dialects: Mapping[str, tuple[str, str, bool]]) -> None:
    names = [share.name for share in model.backend]
    _unique(f"model `{model.name}`", names)
    for name in names:
        if name not in dialects:
            raise ValueError(f"model `{model.name}` names the backend `{name}`, which is not there")
    if len({dialects[name] for name in names}) > 1:
        # A plan is written down once, in the words of whoever serves the model.
        raise ValueError(
            f"model `{model.name}`: its backends must speak one dialect, with one `engine_priority` and "
            "one `isolate_cache`"
        )


def _check_backend(passed: PassthroughConfig, names: list[str]) -> None:
    if passed.backend is not None and passed.backend not in names:
        raise ValueError(
            f"passthrough `{passed.path}` names the backend `{passed.backend}`, which is not there"
        )
    if passed.backend is None and len(names) > 1:
        raise ValueError(f"passthrough `{passed.path}`: say which `backend`, there are {len(names)}")


def _unique(what: str, names: list[str]) -> None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ValueError(f"{what}: `{twice}` stands there twice")
