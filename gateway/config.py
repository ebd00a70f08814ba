"""The configuration: one YAML file and the environment become one frozen, validated `Config`.

Precedence: command-line flags, then `LUMYN_*` variables, then the file, then the defaults. Every
key is described in `config.example.yaml`, which a test holds against this schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.kernel import bounds
from gateway.kernel.errors import InvalidConfigError, InvalidPolicyError
from gateway.kernel.types import JSON, JSONObject, Mode
from gateway.policy.builtin import PACKS, SUPPORT
from gateway.policy.document import read_document

_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Seconds = Annotated[float, Field(gt=0, le=86_400)]
_Bytes = Annotated[int, Field(gt=0, le=1 << 30)]
_Port = Annotated[int, Field(ge=0, le=65_535)]
_KeyHash = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListenConfig(_Part):
    """Where the gateway listens. Port 0 takes a free one and prints it."""

    host: str = "127.0.0.1"
    port: _Port = 8080
    admin_host: str = "127.0.0.1"
    admin_port: _Port = 8081


class StorageConfig(_Part):
    """Where records are kept."""

    url: str = "sqlite:.lumyn/lumyn.db"


class PolicyConfig(_Part):
    """What decides. A path is looked for from the working directory, then among the built-in ones."""

    path: str = SUPPORT
    packs: tuple[str, ...] = PACKS
    mode: Mode | None = Mode.ENFORCE
    advisory_allowed: bool = False


class RedactionConfig(_Part):
    """The least that is removed from inline contexts; a request can only ask for more."""

    profile: Literal["default", "strict", "off"] = "default"


class MemoryConfig(_Part):
    """How many remembered outcomes a record names."""

    top_k: Annotated[int, Field(ge=0, le=100)] = 5


class KeyConfig(_Part):
    """An API key: who holds it, and what it covers."""

    name: _Name
    hash: _KeyHash
    tenant: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    actions: tuple[str, ...] = ("*",)
    intents: tuple[str, ...] = ("*",)


class BackendConfig(_Part):
    """An OpenAI-compatible origin."""

    name: _Name
    url: str
    api_key: str | None = None
    connections_max: Annotated[int, Field(ge=1, le=65_536)] = bounds.UPSTREAM_CONNECTIONS_MAX
    dialect: Literal["llm-d>=0.11", "llm-d-0.9", "gaie", "vllm", "none"] = "none"
    metrics_url: str | None = None


class ModelConfig(_Part):
    """A model, the backend that serves it, and what a planner may know: US dollars per million tokens."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    backend: _Name
    price_in: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    price_out: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    quality: Annotated[float, Field(ge=0, le=1)] = 1.0
    context: Annotated[int, Field(ge=1, le=100_000_000)] = 131_072


class LimitsConfig(_Part):
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


class LogConfig(_Part):
    """What goes to standard error, as JSON lines."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    decisions: bool = False


class ServiceConfig(_Part):
    """Secrets of the service itself."""

    signing_secret: str | None = None


class Config(_Part):
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


_VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "LUMYN_STORAGE_URL": ("storage", "url"),
    "LUMYN_POLICY_PATH": ("policy", "path"),
    "LUMYN_MODE": ("policy", "mode"),
    "LUMYN_REDACTION_PROFILE": ("redaction", "profile"),
    "LUMYN_TOP_K": ("memory", "top_k"),
    "LUMYN_SIGNING_SECRET": ("service", "signing_secret"),
    "LUMYN_LOG_LEVEL": ("log", "level"),
}
"""The names of the contract, and where each one goes. A blank variable is an unset one."""

_BACKEND_VARIABLE: Final = "LUMYN_BACKEND_URL"
_PATH_VARIABLE: Final = "LUMYN_CONFIG_PATH"
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_config(
    path: str | None,
    environment: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Return the configuration. `overrides` are the flags, as nested mappings.

    Without a path `LUMYN_CONFIG_PATH` names the file; without that the defaults hold. A file that is
    named and not there is an error: a gateway that starts with other rules than asked is worse than
    one that does not start. Raises InvalidConfigError.
    """
    named = path or environment.get(_PATH_VARIABLE) or None
    value = {} if named is None else _read_file(named)
    value = _resolve(value, environment, where="")
    for variable, keys in _VARIABLES.items():
        if text := environment.get(variable, "").strip():
            _set(value, keys, text.lower() if variable == "LUMYN_LOG_LEVEL" else text)
    if (url := environment.get(_BACKEND_VARIABLE, "").strip()) and not value.get("backends"):
        value["backends"] = [{"name": "default", "url": url}]
    value = _merge(value, overrides or {})
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        raise _explain(error, named or "configuration") from None


def _read_file(path: str) -> JSONObject:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InvalidConfigError(f"{path} cannot be read: {_reason(error)}") from None
    if all(line.strip() == b"" or line.lstrip().startswith(b"#") for line in text.splitlines()):
        # An example of which nothing has been taken yet.
        return {}
    try:
        value = read_document(text, source=path).value
    except InvalidPolicyError as error:
        lines = "\n".join(f"- {problem}" for problem in error.problems)
        raise InvalidConfigError(f"{path} is not a configuration:\n{lines}") from None
    if not isinstance(value, dict):
        raise InvalidConfigError(f"{path} must hold a mapping of keys to values")
    return value


def _resolve(value: JSON, environment: Mapping[str, str], *, where: str) -> Any:
    """Replace `${NAME}` by the variable; a secret that is not there is an error and never an empty string."""
    if isinstance(value, dict):
        return {key: _resolve(item, environment, where=f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, environment, where=f"{where}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        if (text := environment.get(match.group(1))) is None:
            raise InvalidConfigError(f"{where.lstrip('.')}: the variable {match.group(1)} is not set")
        return text

    return _REFERENCE.sub(replace, value)


def _set(value: JSONObject, keys: tuple[str, ...], text: str) -> None:
    part = value.setdefault(keys[0], {})
    if isinstance(part, dict):
        part[keys[1]] = text


def _merge(base: JSONObject, over: Mapping[str, Any]) -> JSONObject:
    merged = dict(base)
    for key, item in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, item) if isinstance(below, dict) and isinstance(item, Mapping) else item
    return merged


def _unique(what: str, names: list[str]) -> None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise ValueError(f"{what}: `{twice}` stands there twice")


def _explain(error: ValidationError, source: str) -> InvalidConfigError:
    """Say each thing that is wrong in one line; never quote a value, which may be a secret."""
    lines = [
        f"- {'.'.join(str(part) for part in problem['loc']) or 'configuration'}: "
        f"{_lower_first(problem['msg'].removeprefix('Value error, '))}"
        for problem in error.errors(include_input=False, include_url=False)
    ]
    return InvalidConfigError(f"{source} is not valid:\n" + "\n".join(lines), hint="see config.example.yaml")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
