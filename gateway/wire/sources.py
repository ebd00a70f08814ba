"""Where a value of an action comes from: `body:/amount`, `path:order_id`, `query:region`, `header:x-agent`.

The configuration names sources, a request answers them. What a request says twice is refused: the gate
and the tool might each take another one. What it does not say is missing, and the policy asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.pointer import resolve
from gateway.kernel.types import JSON
from gateway.wire.headers import CREDENTIALS

MISSING: Final = object()
"""What a request does not say. Not None: that is a value in JSON."""
_HEADER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)*\Z")
_HINT: Final = "use body:/pointer, path:name, query:name, header:name or const:text"


class SourceKind(StrEnum):
    """The parts of a request, and a text of the configuration's own."""

    BODY = "body"
    PATH = "path"
    QUERY = "query"
    HEADER = "header"
    CONST = "const"


@dataclass(frozen=True, slots=True)
class Source:
    """One place of a request."""

    kind: SourceKind
    name: str
    """A JSON pointer, a name, or the text itself."""

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class Parts:
    """A request taken apart."""

    body: JSON
    """MISSING where there is none."""
    path: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[bytes, bytes]]


def read_source(text: str) -> Source:
    """Return the source that a text of the configuration is. Raises ValueError with the reason."""
    prefix, colon, name = text.partition(":")
    try:
        kind = SourceKind(prefix)
    except ValueError:
        kind = None
    if kind is None or not colon:
        raise ValueError(f"`{text[:60]}` is no source: {_HINT}")
    if kind is SourceKind.BODY and not _POINTER.match(name):
        raise ValueError(f"`{name[:60]}` is no JSON pointer: write body:/items/0/price (RFC 6901)")
    if kind is SourceKind.HEADER and not _HEADER.match(name):
        raise ValueError(f"`{name[:60]}` is no header name: write it in lower case, with hyphens")
    if kind is SourceKind.HEADER and name.encode() in CREDENTIALS | {b"proxy-authorization"}:
        raise ValueError(f"`{name}` is a secret: it may not stand in records")
    if kind is not SourceKind.BODY and not name:
        raise ValueError(f"`{text[:60]}` names nothing")
    return Source(kind, name)


def take(source: Source, parts: Parts) -> JSON:
    """Return the value at a source, or MISSING.

    A body's value comes as its JSON type; path, query and headers hold text. Raises InvalidRequestError
    for a parameter or header that stands there twice.
    """
    match source.kind:
        case SourceKind.BODY:
            return _of_body(source.name, parts.body)
        case SourceKind.PATH:
            return parts.path[source.name]
        case SourceKind.QUERY:
            return _one(source, _query_values(source.name, parts.query))
        case SourceKind.HEADER:
            return _one(source, header_values(source.name, parts.headers))
        case SourceKind.CONST:
            return source.name


def header_values(name: str, headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    """Return every value that a header has."""
    wanted = name.encode("ascii")
    return [value.decode("latin-1").strip() for sent, value in headers if sent.lower() == wanted]


def _of_body(pointer: str, body: JSON) -> JSON:
    if body is MISSING:
        return MISSING
    _check_spelling(pointer, body)
    try:
        return resolve(body, pointer)
    except KeyError:
        return MISSING


def _check_spelling(pointer: str, body: JSON) -> None:
    """Refuse another spelling of a key that we read: Go takes `Amount` for `amount`, and the last wins."""
    value, way = body, ""
    for step in pointer.split("/")[1:]:
        if isinstance(value, dict):
            key = step.replace("~1", "/").replace("~0", "~")
            folded = key.casefold()
            twin = next((name for name in value if name != key and name.casefold() == folded), None)
            if twin is not None:
                raise InvalidRequestError(
                    f"{way}/{step} is spelt in another way, which some servers would read as the same",
                    pointer=f"{way}/{step}",
                    hint=f"spell it `{key}`",
                )
        way = f"{way}/{step}"
        try:
            value = resolve(body, way)
        except KeyError:
            return


def _query_values(name: str, query: Sequence[tuple[str, str]]) -> list[str]:
    """Return what any server might take for a parameter: in any case, and in PHP's brackets."""
    folded = name.casefold()
    return [value for sent, value in query if sent.casefold().partition("[")[0] == folded]


def _one(source: Source, values: list[str]) -> JSON:
    if len(values) > 1:
        raise InvalidRequestError(
            f"`{source}` stands there {len(values)} times",
            pointer="",
            hint="send it once: the gate and the tool must read the same",
        )
    return values[0] if values else MISSING
