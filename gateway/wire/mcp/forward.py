"""The headers that go on to an MCP server, and those that come back from it.

As everywhere: framing, control and credentials stay here; the server's own credential comes from the
configuration. `Origin` stays as well, because it was checked here and would be a stranger's there.
"""

from __future__ import annotations

from typing import Final

from gateway.wire.headers import (
    RawHeaders,
    forwarded_request_headers,
    listed_in_connection,
    relayed_response_headers,
)
from gateway.wire.mcp.revision import Era

_NOT_FOR_SERVERS: Final = frozenset({b"origin", b"referer"})
_OF_SESSIONS: Final = frozenset({b"mcp-session-id", b"last-event-id"})
"""The stateless era has none: a header of that name is to be ignored, and so goes nowhere."""
_PARAM: Final = b"mcp-param-"
_NOT_FOR_CLIENTS: Final = frozenset({b"set-cookie", b"www-authenticate"})
"""Between the gateway and the server: a client would answer them with credentials of its own."""


def forwarded_headers(headers: RawHeaders, era: Era) -> list[tuple[bytes, bytes]]:
    """Return the client's headers for the server.

    `Mcp-Param-*` names are the tool's own choice and may hold underscores, which elsewhere are dropped.
    """
    pairs = list(headers)
    hop_by_hop = listed_in_connection(pairs)
    dropped = _NOT_FOR_SERVERS | _OF_SESSIONS if era is Era.STATELESS else _NOT_FOR_SERVERS
    kept = [
        pair
        for pair in forwarded_request_headers(pairs, keep_authorization=False)
        if pair[0].lower() not in dropped
    ]
    odd = [
        pair
        for pair in pairs
        if b"_" in pair[0] and (name := pair[0].lower()).startswith(_PARAM) and name not in hop_by_hop
    ]
    return kept + odd


def relayed_pairs(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Return the server's headers for the client, with the length that it declared."""
    return [pair for pair in headers if pair[0].lower() not in _NOT_FOR_CLIENTS]


def relayed_headers(headers: RawHeaders) -> list[tuple[str, str]]:
    """Return the server's headers for the client as text; framing is left to whoever writes the body."""
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in relayed_response_headers(relayed_pairs(headers))
    ]
