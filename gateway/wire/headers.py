"""Header names and values at the border: what may pass, in both directions, and what is refused.

Both directions are re-serialised from parsed pairs, never relayed as bytes, so that a disagreement
between two parsers has nothing to live on. Nothing here reads a socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

_RESPONSE_OWN: Final = HOP_BY_HOP | {b"content-length", b"x-request-id", b"server", b"date"}

CONTROL_PREFIXES: Final = (b"x-llm-d-", b"x-gateway-", b"x-slo-", b"x-lumyn-")
"""Control headers of llm-d in every spelling, and our own: a client's copy is a forgery (llm-d.md A6)."""

_TWINS: Final = _REQUEST_OWN | CREDENTIALS | {b"content-type", b"content-encoding", b"forwarded"}

_CONTROL_CHARS: Final = bytes({*range(0x20), 0x7F} - {0x09})
"""What may not stand in a value (RFC 9110 5.5): two readers of CR, LF or NUL may see two messages."""


_USUAL: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})
"""What `Connection` mostly says: it names nothing that is not hop-by-hop anyway."""
_NONE: Final[frozenset[bytes]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows from the names of a message's headers alone.

    A client sends the same names with every request, so that what is read of them is remembered whole:
    most of a filter's time goes to their spelling. Names are bounded by the parser, plans by their number.
    """

    imitator: bytes | None
    """The first name that spells a control header with an underscore."""
    hosts: int
    chunks: bool
    connections: tuple[int, ...]
    """Where `Connection` stands."""
    clean: bool
    """No name holds a control character."""
    forwarded: tuple[int, ...]
    forwarded_without_credentials: tuple[int, ...]
    relayed: tuple[int, ...]


_PLANS_MAX: Final = 256
"""Many times the kinds of clients and backends that one gateway meets at a time."""


@lru_cache(maxsize=_PLANS_MAX)
def _plan(names: tuple[bytes, ...]) -> _Plan:
    lower = [name.lower() for name in names]
    forwarded = [
        at
        for at, name in enumerate(lower)
        if name not in _REQUEST_OWN and b"_" not in name and not name.startswith(CONTROL_PREFIXES)
    ]
    return _Plan(
        imitator=next((name for name in names if _imitates(name)), None),
        hosts=lower.count(b"host"),
        chunks=b"transfer-encoding" in lower,
        connections=tuple(at for at, name in enumerate(lower) if name == b"connection"),
        clean=not any(char in name for name in names for char in _CONTROL_CHARS),
        forwarded=tuple(forwarded),
        forwarded_without_credentials=tuple(at for at in forwarded if lower[at] not in CREDENTIALS),
        relayed=tuple(
            at
            for at, name in enumerate(lower)
            if name not in _RESPONSE_OWN and not name.startswith(b"x-lumyn-")
        ),
    )


def _twin(name: bytes) -> bytes:
    """Return the name that a CGI-style reader takes another for: `Content_Length` for `Content-Length`."""
    return name.lower().replace(b"_", b"-")


def _imitates(name: bytes) -> bool:
    return b"_" in name and (_twin(name) in _TWINS or _twin(name).startswith(CONTROL_PREFIXES))


def _names_of(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    return tuple([name for name, _ in pairs])


def listed_in_connection(headers: RawHeaders) -> frozenset[bytes]:
    """Return the lower-case names that `Connection` declares hop-by-hop (RFC 9110 7.6.1)."""
    pairs = list(headers)
    return _listed(pairs, _plan(_names_of(pairs)))


def _listed(pairs: Sequence[tuple[bytes, bytes]], plan: _Plan) -> frozenset[bytes]:
    values = [value for at in plan.connections if (value := pairs[at][1]) not in _USUAL]
    if not values:
        return _NONE
    return frozenset(token.strip().lower() for value in values for token in value.split(b","))


def check_request_headers(headers: RawHeaders, *, http_1_0: bool = False) -> None:
    """Refuse what two servers might read differently.

    Raises MalformedRequestError for a header that spells a framing, routing or control header with
    an underscore (CGI-style back-ends take `Content_Length` for `Content-Length`), for more than one
    `Host` or none (RFC 9112 3.2), and for chunks in HTTP/1.0, which has none (RFC 9112 6.1).
    """
    plan = _plan(tuple([name for name, _ in headers]))
    if plan.imitator is not None:
        name, twin = plan.imitator.decode("latin-1"), _twin(plan.imitator).decode("latin-1")
        raise MalformedRequestError(
            f"header `{name}` imitates `{twin}`", hint="spell header names with hyphens"
        )
    if http_1_0 and plan.chunks:
        raise MalformedRequestError("chunks in an HTTP/1.0 request", hint="send a content-length")
    if plan.hosts > 1:
        raise MalformedRequestError("more than one host header", hint="send exactly one")
    if not plan.hosts and not http_1_0:
        raise MalformedRequestError("no host header", hint="send exactly one")


def forwarded_request_headers(headers: RawHeaders, *, keep_authorization: bool) -> list[tuple[bytes, bytes]]:
    """Return the client's end-to-end headers, without framing, control and credentials.

    Names with an underscore are dropped, as nginx does by default. `keep_authorization` passes the
    client's credentials on: only where the gateway has no keys of its own.
    """
    pairs = list(headers)
    plan = _plan(_names_of(pairs))
    places = plan.forwarded if keep_authorization else plan.forwarded_without_credentials
    return _end_to_end(pairs, plan, places)


def relayed_response_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the backend's end-to-end headers, for the client. Framing is ours to write."""
    pairs = list(headers)
    plan = _plan(_names_of(pairs))
    return _end_to_end(pairs, plan, plan.relayed)


def _end_to_end(
    pairs: list[tuple[bytes, bytes]], plan: _Plan, places: tuple[int, ...]
) -> list[tuple[bytes, bytes]]:
    """Return the pairs at some places, but for those that `Connection` lists or that are not clean."""
    kept = [pairs[at] for at in places]
    if plan.connections and (dropped := _listed(pairs, plan)):
        kept = [pair for pair in kept if pair[0].lower() not in dropped]
    # The parsers refuse control characters: this is the second lock.
    values = b"".join([value for _, value in kept])
    if plan.clean and len(values.translate(None, _CONTROL_CHARS)) == len(values):
        return kept
    return [pair for pair in kept if not any(char in pair[0] + pair[1] for char in _CONTROL_CHARS)]


@lru_cache(maxsize=_PLANS_MAX)
def _template(names: tuple[bytes, ...]) -> bytes:
    return b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name in names])


def header_lines(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return pairs as the lines of a message's head, each with its end."""
    return _template(_names_of(pairs)) % tuple([value for _, value in pairs])


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
