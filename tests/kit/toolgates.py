"""A gateway that gates tool calls before a backend that says what a test has it say."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.kit.gateways import MODEL, RunningGateway, running_gateway
from tests.kit.rawpeer import Wire, raw_server

POLICY = """
schema_version: policy.v0
policy_id: shop
policy_version: "1"
defaults: {mode: enforce, default_verdict: ESCALATE, default_reason_code: NO_MATCH_DEFAULT_ESCALATE}
required_evidence:
  shop.refund: [order_id]
rules:
  - id: S020
    stage: HARD_BLOCKS
    when: {action_type: shop.close_account}
    then: {verdict: ABSTAIN, reason_codes: [TOOL_NOT_ALLOWED]}
  - id: S030
    stage: ESCALATIONS
    when: {action_type: shop.refund}
    if: {amount_usd_gt: 200}
    then: {verdict: ESCALATE, reason_codes: [REFUND_OVER_ESCALATION_LIMIT]}
  - id: S050
    stage: TRUST_PATHS
    when: {action_type: shop.refund}
    if: {amount_usd_lte: 200}
    then: {verdict: TRUST, reason_codes: [TOOL_CALL_OK]}
  - id: S051
    stage: TRUST_PATHS
    when: {action_type: shop.look_up}
    then: {verdict: TRUST, reason_codes: [TOOL_CALL_OK]}
"""
TOOLS: list[dict[str, Any]] = [
    {"name": "look_up", "action": "shop.look_up"},
    {"name": "close_*", "action": "shop.close_account"},
    {
        "name": "refund",
        "action": "shop.refund",
        "evidence": {"order_id": "/order"},
        "amount": {"value": "/amount"},
    },
]
SMALL = '{"order": "o-1", "amount": 12.5}'
LARGE = '{"order": "o-1", "amount": 950}'


@dataclass
class Backend:
    """What the backend says next, and what it heard."""

    answers: list[bytes] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)

    def says(self, frames: Sequence[bytes]) -> None:
        """Answer the next request with these events, each in a chunk of its own."""
        self.answers.append(stream(frames))

    def says_whole(self, value: Any, *headers: bytes, status: int = 200) -> None:
        """Answer the next request with a JSON body."""
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        self.answers.append(whole(body, *headers, status=status))

    async def play(self, wire: Wire) -> None:
        """Answer one request after the other."""
        while True:
            request = await wire.read_request()
            self.heads.append(request.head)
            self.heard.append(orjson.loads(request.body) if request.body.startswith(b"{") else request.body)
            await wire.send(self.answers.pop(0))


def stream(frames: Sequence[bytes], *headers: bytes) -> bytes:
    """A streamed answer."""
    extra = b"".join(header + b"\r\n" for header in headers)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + extra
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames)
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def whole(body: bytes, *headers: bytes, status: int = 200) -> bytes:
    """A whole answer."""
    extra = b"".join(header + b"\r\n" for header in headers)
    kind = b"" if b"content-type" in extra.lower() else b"content-type: application/json\r\n"
    return b"HTTP/1.1 %d X\r\n%b%bcontent-length: %d\r\n\r\n%b" % (status, kind, extra, len(body), body)


@contextlib.asynccontextmanager
async def gated(
    directory: Path, *, tools: Any = None, policy: str = POLICY, **settings: Any
) -> AsyncIterator[tuple[RunningGateway, Backend]]:
    """Start a gateway with a policy of a shop before a backend that serves `MODEL`."""
    backend = Backend()
    text = directory / "shop.yml"
    text.write_text(policy)
    own = {"path": str(text), **settings.pop("policy_settings", {})}
    async with (
        raw_server(backend.play) as peer,
        running_gateway(
            directory,
            backend_url=peer.url,
            policy=own,
            tools=TOOLS if tools is None else tools,
            **settings,
        ) as one,
    ):
        yield one, backend


async def tool_records(one: RunningGateway) -> list[Any]:
    """The records of tool calls, oldest first, each with the data of its outcomes."""
    found = [
        record
        for record in reversed(await one.decisions())
        if "tool_call" in record["request"].get("extensions", {})
    ]
    for record in found:
        record["outcomes"] = await one.outcomes_of(record["decision_id"])
    return found


__all__ = ["LARGE", "MODEL", "SMALL", "TOOLS", "Backend", "gated", "stream", "tool_records", "whole"]
