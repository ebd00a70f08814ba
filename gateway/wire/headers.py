"""Header names and values at the border: what may pass, in both directions, and what is refused.

Both directions are re-serialised from parsed pairs, never relayed as bytes, so that a disagreement
between two parsers has nothing to live on. Nothing here reads a socket.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from gateway.kernel.errors import MalformedRequestError

RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    },
)
"""RFC 9110 7.6.1, with the spellings that are in use though no standard names them."""

CREDENTIALS: Final = frozenset({b"authorization", b"cookie", b"x-api-key", b"api-key"})
"""What a client proves itself with, in the spellings of the APIs there are: meant for one party only."""

_REQUEST_OWN: Final = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"accept-encoding",
    b"x-request-id",
    b"epp-profile",
    b"x-data-parallel-rank",
    b"x-prefiller-host-port",
    b"x-prediction-based-scheduling",
}
"""Request headers that the gateway writes itself or that steer a backend past it."""

_OWN_AND_CREDENTIALS: Final = _REQUEST_OWN | CREDENTIALS

_RESPONSE_OWN: Final = HOP_BY_HOP | {b"content-length", b"x-request-id", b"server", b"date"}

CONTROL_PREFIXES: Final = (b"x-llm-d-", b"x-gateway-", b"x-slo-", b"x-lumyn-")
"""Control headers of llm-d in every spelling, and our own: a client's copy is a forgery (llm-d.md A6)."""

_TWINS: Final = _OWN_AND_CREDENTIALS | {b"content-type", b"content-encoding", b"forwarded"}

_CONTROL_CHARS: Final = bytes({*range(0x20), 0x7F} - {0x09})
"""What may not stand in a value (RFC 9110 5.5): two readers of CR, LF or NUL may see two messages."""


_USUAL: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
_NONE: Final[frozenset[bytes]] = frozenset()


def listed_in_connection(headers: RawHeaders) -> frozenset[bytes]:
    """Return the lower-case names that `Connection` declares hop-by-hop (RFC 9110 7.6.1)."""
    named: set[bytes] = set()
    for name, value in headers:
        # The two usual values name nothing that is not hop-by-hop anyway.
        if len(name) == len(b"connection") and value not in _USUAL and name.lower() == b"connection":
            named.update(token.strip().lower() for token in value.split(b","))
    return frozenset(named) if named else _NONE


def check_request_headers(headers: RawHeaders, *, http_1_0: bool = False) -> None:
    """Refuse what two servers might read differently.

    Raises MalformedRequestError for a header that spells a framing, routing or control header with
    an underscore (CGI-style back-ends take `Content_Length` for `Content-Length`), for more than one
    `Host` or none (RFC 9112 3.2), and for chunks in HTTP/1.0, which has none (RFC 9112 6.1).
    """
    hosts = 0
    for name, _ in headers:
        if b"_" in name:
            twin = name.lower().replace(b"_", b"-")
            if twin in _TWINS or twin.startswith(CONTROL_PREFIXES):
                raise MalformedRequestError(
                    f"header `{name.decode('latin-1')}` imitates `{twin.decode('latin-1')}`",
                    hint="spell header names with hyphens",
                )
        elif len(name) == 4 and name.lower() == b"host":
            hosts += 1
        elif http_1_0 and name.lower() == b"transfer-encoding":
            raise MalformedRequestError("chunks in an HTTP/1.0 request", hint="send a content-length")
    if hosts > 1:
        raise MalformedRequestError("more than one host header", hint="send exactly one")
    if not hosts and not http_1_0:
        raise MalformedRequestError("no host header", hint="send exactly one")


def forwarded_request_headers(headers: RawHeaders, *, keep_authorization: bool) -> list[tuple[bytes, bytes]]:
    """Return the client's end-to-end headers, without framing, control and credentials.

    Names with an underscore are dropped, as nginx does by default. `keep_authorization` passes the
    client's credentials on: only where the gateway has no keys of its own.
    """
    pairs = list(headers)
    dropped = listed_in_connection(pairs)
    passes = _passes if keep_authorization else _passes_without_credentials
    kept = [
        pair
        for pair in _without_control_chars(pairs)
        if passes(pair[0][:_NAME_BYTES_MAX]) and b"_" not in pair[0][_NAME_BYTES_MAX:]
    ]
    return [pair for pair in kept if pair[0].lower() not in dropped] if dropped else kept


_NAME_BYTES_MAX: Final = 64
"""Longer than any name that is treated specially: what is cached of a name is bounded."""


# Clients send the same names again and again, and most of a filter's time goes to their spelling.
@lru_cache(maxsize=1024)
def _passes(name: bytes) -> bool:
    lower = name.lower()
    return lower not in _REQUEST_OWN and b"_" not in lower and not lower.startswith(CONTROL_PREFIXES)


@lru_cache(maxsize=1024)
def _passes_without_credentials(name: bytes) -> bool:
    return _passes(name) and name.lower() not in _OWN_AND_CREDENTIALS


def relayed_response_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the backend's end-to-end headers, for the client. Framing is ours to write."""
    pairs = list(headers)
    dropped = listed_in_connection(pairs)
    return [
        (name, value)
        for name, value in _without_control_chars(pairs)
        if (lower := name.lower()) not in _RESPONSE_OWN
        and lower not in dropped
        and not lower.startswith(b"x-lumyn-")
    ]


def _without_control_chars(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Drop headers that hold a control character: the parsers refuse them, and this is the second lock."""
    text = b"".join([part for pair in pairs for part in pair])
    if len(text.translate(None, _CONTROL_CHARS)) == len(text):
        return pairs
    return [pair for pair in pairs if not any(char in pair[0] + pair[1] for char in _CONTROL_CHARS)]


_REQUEST_ID_CHARS_MAX: Final = 128
_REQUEST_ID_ALPHABET: Final = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+=@",
)


def clean_request_id(value: str | None) -> str | None:
    """Return a client's `x-request-id` if it is safe to log, store and forward, else None.

    Safe is 1 to 128 characters of letters, digits and `-_.:/+=@`: every id format in use, and
    nothing that a log viewer or a terminal would interpret.
    """
    if not value or len(value) > _REQUEST_ID_CHARS_MAX:
        return None
    try:
        raw = value.encode("ascii")
    except UnicodeEncodeError:
        return None
    return value if _REQUEST_ID_ALPHABET.issuperset(raw) else None
