"""Which revision a message speaks, and whether its headers say what its body says.

Sources: MCP 2025-11-25 and 2026-07-28, basic/transports; the order of the checks is that of the official SDK
(`mcp.shared.inbound`), so that a client is told the same by either. Headers are mirrors for those who do not
read bodies: a decision is made on the body alone, and a mirror that says something else is refused.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.kernel.errors import ProtocolError
from gateway.kernel.parse import Unfit
from gateway.kernel.types import JSON
from gateway.wire.headers import RawHeaders
from gateway.wire.mcp.message import Kind, Message

META: Final = "io.modelcontextprotocol/"
VERSION_KEY: Final = f"{META}protocolVersion"
CAPABILITIES_KEY: Final = f"{META}clientCapabilities"

STATELESS_VERSIONS: Final = ("2026-07-28",)
_SESSION_VERSIONS: Final = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
_VERSION: Final = "mcp-protocol-version"
_METHOD: Final = "mcp-method"
_NAME: Final = "mcp-name"
PARAM_PREFIX: Final = "mcp-param-"
_NAMED_BY: Final[Mapping[str, str]] = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_SENTINEL: Final = ("=?base64?", "?=")


class Era(Enum):
    """The two ways of speaking; what differs between them is in `docs/mcp.md`."""

    SESSIONS = "2025-11-25"
    """Up to 2025-11-25: a handshake, sessions, GET streams, requests of the server's own."""
    STATELESS = "2026-07-28"
    """From 2026-07-28: each request says who asks and what it can, in headers and in `_meta`."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """The headers that repeat what the body says, by their lower-case names. Read with `read_mirror`."""

    version: str | None
    method: str | None
    name: str | None
    params: Mapping[str, str]
    """By the name behind `mcp-param-`, lower-case."""


def read_mirror(headers: RawHeaders) -> Mirror:
    """Return the routing headers. ProtocolError for one that stands there twice: readers take either."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        if raw_name[:4].lower() != b"mcp-":
            continue
        name = raw_name.lower().decode("latin-1")
        if name not in {_VERSION, _METHOD, _NAME} and not name.startswith(PARAM_PREFIX):
            continue
        if name in found:
            raise mismatch(f"the header `{name}` stands there twice")
        found[name] = raw_value.strip(b" \t").decode("latin-1")
    params = {
        name.removeprefix(PARAM_PREFIX): value
        for name, value in found.items()
        if name.startswith(PARAM_PREFIX)
    }
    return Mirror(found.get(_VERSION), found.get(_METHOD), found.get(_NAME), params)


def era_of(mirror: Mirror) -> Era:
    """Return the era that the version header names. ProtocolError for a version that nobody here speaks."""
    if mirror.version is None or mirror.version in _SESSION_VERSIONS:
        return Era.SESSIONS
    if mirror.version in STATELESS_VERSIONS:
        return Era.STATELESS
    raise _unsupported(mirror.version)


def check_agreement(message: Message, mirror: Mirror) -> Era:
    """Return the era of a message whose headers and body agree; ProtocolError where they do not."""
    if mirror.version is None or mirror.version in _SESSION_VERSIONS:
        if VERSION_KEY in message.meta:
            raise mismatch("the body says a protocol version that the header does not")
        _check_mirrors(message, mirror, required=False)
        return Era.SESSIONS
    if message.kind is Kind.RESPONSE:
        if mirror.version in STATELESS_VERSIONS:
            raise ProtocolError("this revision knows no responses of clients")
        raise _unsupported(mirror.version)
    if message.kind is Kind.REQUEST:
        _check_envelope(message)
    if message.meta.get(VERSION_KEY, mirror.version) != mirror.version:
        raise mismatch(f"the header `{_VERSION}` and params._meta say different versions")
    _check_mirrors(message, mirror, required=message.kind is Kind.REQUEST)
    return era_of(mirror)


def mismatch(message: str) -> ProtocolError:
    """Return the error of headers and a body that disagree."""
    return ProtocolError(message, code="MCP_HEADER_MISMATCH")


def _unsupported(version: str) -> ProtocolError:
    return ProtocolError(
        "this protocol version is not spoken here",
        code="MCP_VERSION_UNSUPPORTED",
        data={"supported": list(STATELESS_VERSIONS), "requested": version[:64]},
    )


def _check_envelope(message: Message) -> None:
    missing = [key for key in (VERSION_KEY, CAPABILITIES_KEY) if key not in message.meta]
    if missing:
        raise ProtocolError(
            f"params._meta must be an object that holds {' and '.join(missing)}", code="MCP_PARAMS_INVALID"
        )


def _check_mirrors(message: Message, mirror: Mirror, *, required: bool) -> None:
    if (required or mirror.method is not None) and mirror.method != message.method:
        raise mismatch(f"the header `{_METHOD}` does not say the method of the body")
    member = _NAMED_BY.get(message.method)
    if member is None:
        return
    named = message.params.get(member)
    wanted = named is not None and required
    if (wanted or mirror.name is not None) and (mirror.name is None or decode_value(mirror.name) != named):
        raise mismatch(f"the header `{_NAME}` does not say the `{member}` of the body")


def decode_value(value: str) -> str | None:
    """Return what a mirrored value says: `=?base64?...?=` decoded; None where that is malformed."""
    start, end = _SENTINEL
    if not (value.startswith(start) and value.endswith(end) and len(value) >= len(start) + len(end)):
        return value
    payload = value[len(start) : -len(end)]
    try:
        decoded = base64.b64decode(payload, validate=True)
        # Only the canonical spelling: two texts must not stand for one value.
        return decoded.decode() if base64.b64encode(decoded).decode() == payload else None
    except (binascii.Error, UnicodeDecodeError):
        return None


@dataclass(frozen=True, slots=True)
class MirroredArgument:
    """An argument that a tool's definition wants in a header (`x-mcp-header`)."""

    path: tuple[str, ...]
    """Keys from the arguments down."""
    header: str
    """Behind `Mcp-Param-`, lower-case."""
    integer: bool


def check_arguments(mirror: Mirror, mirrored: Sequence[MirroredArgument], arguments: JSON) -> None:
    """Refuse `Mcp-Param-*` headers that do not say what the arguments say. Raises ProtocolError."""
    for argument in mirrored:
        value = _at(arguments, argument.path)
        written = _written(value)
        sent = mirror.params.get(argument.header)
        name = PARAM_PREFIX + argument.header
        if written is None and sent is None:
            continue
        if written is None or sent is None:
            where = "header" if written is None else "body"
            raise mismatch(f"`{name}` stands in the {where} only")
        decoded = decode_value(sent)
        if decoded != written and not (argument.integer and _same_whole(decoded, value)):
            raise mismatch(f"the header `{name}` does not say what the arguments say")


def _at(arguments: JSON, path: Sequence[str]) -> JSON:
    value = arguments
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _written(value: JSON) -> str | None:
    """Return how a client writes an argument into a header; None for what it does not write there."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Unfit):
        return value.literal
    return str(value) if isinstance(value, str | int | float) else None


def _same_whole(decoded: str | None, value: JSON) -> bool:
    """Whole numbers are compared as numbers: 42.0 is 42."""
    if decoded is None or isinstance(value, bool) or not isinstance(value, int):
        return False
    whole, _, fraction = decoded.partition(".")
    plain = whole.removeprefix("-").isdecimal() and whole.isascii() and len(whole) <= 17
    return plain and not fraction.strip("0") and int(whole) == value
