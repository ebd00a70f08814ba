"""Headers to servers and back: what the protocol needs passes, credentials and framing do not."""

from __future__ import annotations

import pytest

from gateway.wire.mcp.forward import forwarded_headers, relayed_headers, relayed_pairs
from gateway.wire.mcp.revision import Era

PASSES = (
    (b"Accept", b"application/json, text/event-stream"),
    (b"MCP-Protocol-Version", b"2026-07-28"),
    (b"Mcp-Method", b"tools/call"),
    (b"Mcp-Name", b"refund"),
    (b"Mcp-Param-Region", b"eu"),
    (b"Mcp-Param-user_id", b"5"),
    (b"traceparent", b"00-x"),
    (b"User-Agent", b"sdk"),
)
STAYS = (
    (b"Authorization", b"Bearer client"),
    (b"Cookie", b"a=b"),
    (b"X-Api-Key", b"k"),
    (b"Origin", b"http://localhost"),
    (b"Referer", b"http://localhost/x"),
    (b"Host", b"gateway"),
    (b"Content-Length", b"5"),
    (b"Connection", b"close, x-hop, mcp-param-hop_by"),
    (b"x-hop", b"1"),
    (b"Mcp-Param-hop_by", b"1"),
    (b"x-lumyn-tenant", b"acme"),
    (b"X_Custom", b"1"),
    (b"x-request-id", b"r"),
)
SESSION = ((b"Mcp-Session-Id", b"s1"), (b"Last-Event-ID", b"7"))


@pytest.mark.parametrize("era", list(Era))
def test_what_goes_on_to_the_server(era: Era) -> None:
    """All of the protocol's own headers, names with underscores that a tool has chosen; no credential."""
    sent = set(forwarded_headers((*PASSES, *STAYS, *SESSION), era))
    assert sent == set(PASSES) | (set(SESSION) if era is Era.SESSIONS else set())


ANSWER = (
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"2"),
    (b"Mcp-Session-Id", b"s1"),
    (b"WWW-Authenticate", b"Bearer resource_metadata=x"),
    (b"Set-Cookie", b"a=b"),
    (b"Server", b"uvicorn"),
    (b"x-lumyn-verdict", b"TRUST"),
    (b"Connection", b"keep-alive"),
)


def test_what_comes_back() -> None:
    """The session does; a challenge, a cookie and a forged header of ours do not."""
    assert relayed_headers(ANSWER) == [("Content-Type", "application/json"), ("Mcp-Session-Id", "s1")]
    assert (b"Content-Length", b"2") in relayed_pairs(ANSWER)
    assert not {b"Set-Cookie", b"WWW-Authenticate"} & {name for name, _ in relayed_pairs(ANSWER)}
