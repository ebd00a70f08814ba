"""Action routes as they are judged: the configuration compiled, and a request read into a DecisionRequest.

The request is made by us and therefore valid as made, but for what it takes from the client: an amount
that is none, or evidence that is no JSON value of the contract, is the client's error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from gateway.auth.keys import Principal
from gateway.config import ActionConfig
from gateway.kernel.bounds import QUERY_FIELDS_MAX
from gateway.kernel.canon import canonical_bytes, sha256_digest
from gateway.kernel.errors import InvalidRequestError, MalformedRequestError, UnsupportedMediaError
from gateway.kernel.parse import parse_json
from gateway.kernel.types import JSON, JSONObject, Tenant
from gateway.pipeline.approvals import Terms
from gateway.pipeline.ports import Backend
from gateway.records.approvals import Call
from gateway.records.request import validate_request
from gateway.wire.paths import PathTemplate, read_template
from gateway.wire.sources import MISSING, Parts, Source, SourceKind, header_values, read_source, take

RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]
IDEMPOTENCY_KEY: Final = "idempotency-key"
_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))
_KEY_CHARS_MAX: Final = 255
"""Stripe's bound, which clients know."""


@dataclass(frozen=True, slots=True)
class ActionRoute:
    """One compiled route."""

    name: str
    method: str
    path: PathTemplate
    forward_path: PathTemplate
    action_type: str
    intent: str
    writes: bool
    """It changes something: repeats are recognised, and what has begun is carried to its end."""
    target: str
    """Where it goes, for the eyes of approvals: another place is another call."""
    subject_type: str
    subject_id: Source | None
    system: str | None
    resource_type: str | None
    resource_id: Source | None
    amount: tuple[Source, Source] | None
    evidence: tuple[tuple[str, Source], ...]
    tags: tuple[str, ...]
    terms: Terms
    backend: Backend

    def sources(self) -> tuple[Source, ...]:
        """Return every place of a request that is read."""
        single = (self.subject_id, self.resource_id, *(self.amount or ()))
        return (*(source for source in single if source is not None), *(one for _, one in self.evidence))


@dataclass(frozen=True, slots=True)
class ReadAction:
    """A request on a route, read: what is asked, what exactly would be done, and where it would go."""

    request: JSONObject
    """The `decision_request.v0`."""
    call: Call
    body: bytes
    target: str
    """The path and query to forward."""


def compile_route(config: ActionConfig, backend: Backend) -> ActionRoute:
    """Return the route that a checked configuration describes."""
    path = read_template(config.path)
    forward = path if config.upstream_path is None else read_template(config.upstream_path)
    return ActionRoute(
        name=config.name,
        method=config.method,
        path=path,
        forward_path=forward,
        action_type=config.type,
        intent=config.intent or f"{config.method} {config.path}",
        writes=config.effect == "write",
        target=f"{config.method} {config.upstream.rstrip('/')}{forward.text}",
        subject_type=config.subject.type,
        subject_id=_optional(config.subject.id),
        system=config.target.system or config.name,
        resource_type=config.target.resource_type,
        resource_id=_optional(config.target.resource_id),
        amount=None
        if config.amount is None
        else (read_source(config.amount.value), read_source(config.amount.currency)),
        evidence=tuple((name, read_source(text)) for name, text in config.evidence.items()),
        tags=config.tags,
        terms=Terms(ask_ms=round(config.ask_s * 1000), use_ms=round(config.use_s * 1000)),
        backend=backend,
    )


def read_action(
    route: ActionRoute,
    principal: Principal,
    *,
    path: str,
    query: str,
    headers: RawHeaders,
    body: bytes,
    trace: Mapping[str, str],
) -> ReadAction:
    """Return what a request on a route asks for.

    Raises MalformedRequestError, InvalidRequestError or UnsupportedMediaError: nothing is recorded then.
    """
    parts = Parts(_body(headers, body), route.path.read(path), _query(query), headers)
    target = route.path.moved(path, route.forward_path) + (f"?{query}" if query else "")
    arguments = _arguments_digest(route, target, headers, body)
    key = _key(headers) if route.writes else None
    request = _request(route, principal, parts, trace, sha256_digest(body))
    call = Call(
        tenant=Tenant(principal.tenant),
        principal=principal.name,
        action_type=route.action_type,
        target=route.target,
        arguments_digest=arguments,
        # A digest, because a call stands in records, and keys are the client's words.
        key=None if key is None else sha256_digest(key.encode()),
    )
    return ReadAction(_validated(route, request), call, body, target)


def where_of(route: ActionRoute, field: str) -> str | None:
    """Return the place of a request that a question's field is read from, to tell who must answer it."""
    name = field.removeprefix("evidence.")
    for known, source in route.evidence:
        if known == name:
            return str(source)
    amounts = dict(zip(("action.amount.value", "action.amount.currency"), route.amount or (), strict=False))
    return str(amounts[field]) if field in amounts else None


def _validated(route: ActionRoute, request: JSONObject) -> JSONObject:
    try:
        return validate_request(request)
    except InvalidRequestError as error:
        field = (error.pointer or "").removeprefix("/").replace("/", ".")
        source = where_of(route, field)
        hint = error.hint if source is None else f"it is read from `{source}`"
        raise InvalidRequestError(error.message, pointer=error.pointer, hint=hint) from None


def _optional(text: str | None) -> Source | None:
    return None if text is None else read_source(text)


def _body(headers: RawHeaders, body: bytes) -> JSON:
    """Read a body strictly: what the tool is sent must mean to it what it meant to the gate."""
    if not body:
        return MISSING
    media = header_values("content-type", headers)
    kind, _, parameters = (media[0] if media else "application/json").partition(";")
    kind, charset = kind.strip().lower(), parameters.strip().lower()
    if len(media) > 1 or not (kind == "application/json" or kind.endswith("+json")):
        raise UnsupportedMediaError("an action's body is JSON", hint="send `content-type: application/json`")
    if charset not in {"", "charset=utf-8", 'charset="utf-8"'}:
        raise UnsupportedMediaError("an action's body is UTF-8", hint="leave out the charset")
    return parse_json(body)


def _query(query: str) -> list[tuple[str, str]]:
    if not _VISIBLE.issuperset(query) or "#" in query:
        raise MalformedRequestError(
            "the query holds what may not stand in one", hint="see RFC 3986 section 3.4"
        )
    if ";" in query:
        raise MalformedRequestError("the query holds a `;`, which some servers take for a separator")
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX, encoding="utf-8", errors="strict"
        )
    except ValueError:
        raise MalformedRequestError("the query cannot be read") from None
    if any(name.casefold() == "_method" for name, _ in pairs):
        raise MalformedRequestError("the query names another method, which some servers would take")
    return pairs


def _key(headers: RawHeaders) -> str | None:
    values = header_values(IDEMPOTENCY_KEY, headers)
    if not values:
        return None
    if len(values) > 1 or not 1 <= len(values[0]) <= _KEY_CHARS_MAX or not values[0].isprintable():
        raise InvalidRequestError(
            f"Idempotency-Key must be one text of 1 to {_KEY_CHARS_MAX} characters",
            pointer="",
            hint="send a random id of the operation, the same for each of its tries",
        )
    return values[0]


def _arguments_digest(route: ActionRoute, target: str, headers: RawHeaders, body: bytes) -> str:
    """Return the digest of everything that the client sends and that decides what is done."""
    read = {source.name for source in route.sources() if source.kind is SourceKind.HEADER}
    return sha256_digest(
        canonical_bytes(
            {
                "body": sha256_digest(body),
                "headers": {name: header_values(name, headers) for name in sorted(read)},
                "method": route.method,
                "target": target,
            }
        )
    )


def _request(
    route: ActionRoute, principal: Principal, parts: Parts, trace: Mapping[str, str], digest: str
) -> JSONObject:
    action: JSONObject = {
        "type": route.action_type,
        "intent": _filled(route.intent, parts.path),
        "target": _target(route, parts),
    }
    if route.amount is not None:
        action |= _amount(route.amount, parts)
    if route.tags:
        action["tags"] = list(route.tags)
    evidence = {name: take(source, parts) for name, source in route.evidence}
    return {
        "schema_version": "decision_request.v0",
        "trace": dict(trace),
        "subject": _subject(route, principal, parts),
        "action": action,
        "evidence": {name: value for name, value in evidence.items() if value is not MISSING},
        "context": {"mode": "digest_only", "digest": digest},
    }


def _filled(template: str, path: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: path[match[1]], template)


def _subject(route: ActionRoute, principal: Principal, parts: Parts) -> JSONObject:
    subject: JSONObject = {"type": route.subject_type, "id": principal.name}
    if route.subject_id is not None:
        subject["id"] = _text(route.subject_id, parts)
    if principal.tenant is not None:
        subject["tenant_id"] = principal.tenant
    return subject


def _target(route: ActionRoute, parts: Parts) -> JSONObject:
    target: JSONObject = {"system": route.system, "resource_type": route.resource_type}
    if route.resource_id is not None and take(route.resource_id, parts) is not MISSING:
        target["resource_id"] = _text(route.resource_id, parts)
    return {name: value for name, value in target.items() if value is not None}


def _amount(sources: tuple[Source, Source], parts: Parts) -> JSONObject:
    amount = dict(zip(("value", "currency"), (take(source, parts) for source in sources), strict=True))
    said = {name: value for name, value in amount.items() if value is not MISSING}
    return {"amount": said} if said else {}


def _text(source: Source, parts: Parts) -> str:
    value = take(source, parts)
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"`{source}` must be a text that is not empty", pointer="")
    return value
