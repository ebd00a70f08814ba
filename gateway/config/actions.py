"""What can be configured of actions: routes to tools over HTTP, who approves, and how repeats are kept."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.kernel import bounds
from gateway.wire.paths import overlap, read_template
from gateway.wire.sources import SourceKind, read_source

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_KeyHash = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
_Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
_ACTION_TYPE: Final = re.compile(r"[a-z0-9]+(?:\.[a-z0-9_]+)+\Z")
_RESERVED: Final = ("v0", "v1", "admin", "metrics", "mcp", "health", "healthz", "readyz")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def _source(text: str) -> str:
    read_source(text)
    return text


def _path(text: str) -> str:
    first = read_template(text).segments[0]
    if first in _RESERVED:
        raise ValueError(f"paths under /{first} are the gateway's own")
    return text


def _forwarded_path(text: str) -> str:
    read_template(text)
    return text


def _action_type(text: str) -> str:
    if not _ACTION_TYPE.match(text):
        raise ValueError("an action type is written support.refund: lower case, with a dot")
    return text


def _network(text: str) -> str:
    ip_network(text)
    return text


_SourceText = Annotated[str, AfterValidator(_source)]
_Text = Annotated[str, Field(min_length=1, max_length=256)]


class _Part(BaseModel):
    """A section: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SubjectConfig(_Part):
    """Who acts. Without `id` it is the API key."""

    type: Literal["service", "agent", "user", "job"] = "service"
    id: _SourceText | None = None


class TargetConfig(_Part):
    """What is acted on, as the record names it."""

    system: _Text | None = None
    resource_type: _Text | None = None
    resource_id: _SourceText | None = None


class AmountConfig(_Part):
    """Where the amount and its currency stand."""

    value: _SourceText
    currency: _SourceText


class ActionConfig(_Part):
    """One route: what a request on it is, what is judged of it, and where it goes."""

    name: Name
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[str, AfterValidator(_path)]
    type: Annotated[str, AfterValidator(_action_type)]
    upstream: str
    upstream_path: Annotated[str, AfterValidator(_forwarded_path)] | None = None
    addresses: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    api_key: str | None = None
    effect: Literal["write", "read"] = "write"
    intent: _Text | None = None
    subject: SubjectConfig = SubjectConfig()
    target: TargetConfig = TargetConfig()
    amount: AmountConfig | None = None
    evidence: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")], _SourceText] = {}
    tags: tuple[_Text, ...] = ()
    ask_s: _Seconds = bounds.APPROVAL_ASK_S
    use_s: _Seconds = bounds.APPROVAL_USE_S
    first_byte_s: _Seconds = bounds.ACTION_FIRST_BYTE_S
    body_bytes_max: Annotated[int, Field(gt=0, le=1 << 26)] = bounds.DECIDE_BODY_BYTES_MAX
    connections_max: Annotated[int, Field(ge=1, le=65_536)] = bounds.ACTION_CONNECTIONS_MAX

    def sources(self) -> dict[str, str]:
        """Return every source, by the key that names it."""
        found = {f"evidence.{name}": text for name, text in self.evidence.items()}
        if self.amount is not None:
            found |= {"amount.value": self.amount.value, "amount.currency": self.amount.currency}
        single = {"subject.id": self.subject.id, "target.resource_id": self.target.resource_id}
        return found | {key: text for key, text in single.items() if text is not None}

    @model_validator(mode="after")
    def _holds_together(self) -> ActionConfig:
        names = read_template(self.path).names
        for key, text in self.sources().items():
            source = read_source(text)
            if source.kind is SourceKind.PATH and source.name not in names:
                raise ValueError(f"{key}: the path has no `{{{source.name}}}`")
            if source.kind is SourceKind.BODY and self.method == "GET":
                raise ValueError(f"{key}: a GET has no body")
        for place in () if self.upstream_path is None else read_template(self.upstream_path).names:
            if place not in names:
                raise ValueError(f"upstream_path: the path has no `{{{place}}}`")
        for place in _PLACEHOLDER.findall(self.intent or ""):
            if place not in names:
                raise ValueError(f"intent: the path has no `{{{place}}}`")
        if "{" in _PLACEHOLDER.sub("", self.intent or "") or "}" in _PLACEHOLDER.sub("", self.intent or ""):
            raise ValueError("intent: a brace stands alone; names of the path stand in a pair")
        return self


class OperatorConfig(_Part):
    """A person who approves or denies; the hash is that of a key of their own."""

    name: Name
    hash: _KeyHash


class IdempotencyConfig(_Part):
    """How repeats of actions are recognised and answered."""

    ttl_s: _Seconds = bounds.IDEMPOTENCY_TTL_S
    derived_ttl_s: _Seconds = bounds.IDEMPOTENCY_DERIVED_TTL_S
    result_bytes_max: Annotated[int, Field(ge=0, le=1 << 24)] = bounds.RESULT_BYTES_MAX
    held_max: Annotated[int, Field(ge=1, le=10_000_000)] = bounds.EXECUTIONS_MAX


def check_routes(actions: tuple[ActionConfig, ...]) -> None:
    """Refuse routes between which a request could not choose. Raises ValueError."""
    seen: dict[tuple[str, str], str] = {}
    for action in actions:
        pattern = read_template(action.path).pattern
        for (method, other), name in seen.items():
            same = (method, other) == (action.method, pattern)
            if same or overlap(pattern, other):
                raise ValueError(f"actions: `{action.name}` and `{name}` fit the same requests")
        seen[action.method, pattern] = action.name
