"""A tool behind the action gate, the configuration of a route to it, and an agent that calls it.

The tool executes refunds: it notes each request at the moment it has read it, then answers what the test
says. So "executed exactly once" is a count.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from tests.kit.rawpeer import Message, Wire, raw_client, raw_server

AGENT, OTHER_AGENT, STRANGER, OPERATOR = "agent-key", "other-agent-key", "stranger-key", "operator-key"
TRUSTED = {
    "amount": 20,
    "currency": "USD",
    "ticket": "T-1",
    "customer": "C-1",
    "risk": "low",
    "chargeback": 0.05,
    "refunds": 0,
    "age_days": 400,
}
"""A refund that the support policy trusts."""
ESCALATED = TRUSTED | {"amount": 250}
"""One that a person must approve."""
REFUNDED = b'{"refunded":true}'
PATH = "/orders/O-1/refunds"


def hash_of(key: str) -> str:
    """The hash of a key, as the configuration has it."""
    return "sha256:" + sha256(key.encode()).hexdigest()


KEYS = [
    {"name": "bot", "hash": hash_of(AGENT), "tenant": "acme"},
    {"name": "other-bot", "hash": hash_of(OTHER_AGENT), "tenant": "acme"},
    {"name": "stranger", "hash": hash_of(STRANGER), "tenant": "globex"},
]
OPERATORS = [{"name": "ann", "hash": hash_of(OPERATOR)}]


def route(port: int, **changed: Any) -> dict[str, Any]:
    """The refund route of a tool on a port of loopback."""
    return {
        "name": "refunds",
        "method": "POST",
        "path": "/orders/{order_id}/refunds",
        "type": "support.refund",
        "upstream": f"http://127.0.0.1:{port}/pay",
        "addresses": ["127.0.0.1/32"],
        "intent": "refund order {order_id}",
        "target": {"resource_type": "order", "resource_id": "path:order_id"},
        "amount": {"value": "body:/amount", "currency": "body:/currency"},
        "evidence": {
            "order_id": "path:order_id",
            "ticket_id": "body:/ticket",
            "customer_id": "body:/customer",
            "payment_instrument_risk": "body:/risk",
            "chargeback_risk": "body:/chargeback",
            "previous_refund_count_90d": "body:/refunds",
            "customer_age_days": "body:/age_days",
        },
    } | changed


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """A whole answer in JSON."""
    lines = [
        f"HTTP/1.1 {status} X",
        f"content-length: {len(body)}",
        "content-type: application/json",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Tool:
    """What a tool was asked, and what it says: bytes, or a script that goes on with the connection."""

    says: bytes | Callable[[Wire], Awaitable[None]] = field(default_factory=lambda: answer(201, REFUNDED))
    executed: list[Message] = field(default_factory=list)
    port: int = 0
    held: asyncio.Event | None = None
    """Where it stands, nothing is answered until it is set."""

    async def serve(self, wire: Wire) -> None:
        """Execute the requests of one connection."""
        while True:
            self.executed.append(await wire.read_request())
            if self.held is not None:
                await self.held.wait()
            if not isinstance(self.says, bytes):
                await self.says(wire)
                return
            await wire.send(self.says)


@contextlib.asynccontextmanager
async def running_tool() -> AsyncIterator[Tool]:
    """Run a tool on a free port."""
    tool = Tool()
    async with raw_server(tool.serve) as server:
        tool.port = server.port
        yield tool


def request(method: str, path: str, body: object = None, *, key: str | None = AGENT, **headers: str) -> bytes:
    """Write a request; `idempotency_key=` becomes the header `idempotency-key`."""
    data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "host: gateway", f"content-length: {len(data)}"]
    if data and "content_type" not in headers:
        lines.append("content-type: application/json")
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


async def ask(
    port: int, method: str, path: str, body: object = None, *, key: str | None = AGENT, **headers: str
) -> Message:
    """One request on a connection of its own."""
    async with raw_client(port) as client:
        await client.send(request(method, path, body, key=key, **headers))
        return await client.read_answer()


async def act(port: int, body: object = TRUSTED, *, key: str | None = AGENT, **headers: str) -> Message:
    """Ask for a refund."""
    return await ask(port, "POST", PATH, body, key=key, **headers)


async def resolve(
    admin_port: int, approval_id: str, word: str = "approve", *, key: str | None = OPERATOR
) -> Message:
    """Answer a question, as the operator."""
    path = f"/admin/approvals/{approval_id}/{word}"
    return await ask(admin_port, "POST", path, {"reason": "known customer"}, key=key)


def json_of(message: Message) -> Any:
    """An answer's body."""
    return orjson.loads(message.body)
