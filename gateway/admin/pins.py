"""The pins of tool definitions, for operators: what is in force, what waits, and the word that accepts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from gateway.auth.signature import SIGNATURE_HEADER, check_signature
from gateway.kernel.bounds import EVENT_BODY_BYTES_MAX
from gateway.kernel.clock import rfc3339
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_json
from gateway.kernel.types import JSONObject
from gateway.listener.client import HttpClient
from gateway.listener.router import Route
from gateway.pipeline.pins import Pin, Pins, Standing
from gateway.wire.errors import v0_error_body

_MEMBERS: Final = ("server", "tool", "digest", "by", "reason")
_TEXT_CHARS_MAX: Final = 1_000


class PinPages:
    """Serves `/admin/mcp/pins`."""

    def __init__(self, pins: Pins, *, signing_secret: str | None) -> None:
        self._pins = pins
        self._secret = None if signing_secret is None else signing_secret.encode()

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return (
            Route("GET", "/admin/mcp/pins", self._list, v0_error_body, 0),
            Route("POST", "/admin/mcp/pins/accept", self._accept, v0_error_body, EVENT_BODY_BYTES_MAX),
        )

    def _authenticate(self, client: HttpClient, body: bytes) -> None:
        if self._secret is not None:
            check_signature(self._secret, body, client.header(SIGNATURE_HEADER))

    async def _list(self, client: HttpClient) -> None:
        self._authenticate(client, b"")
        await self._pins.load()
        rows = [pin_json(standing) for standing in self._pins.listed()]
        await client.send(200, orjson.dumps({"pins": rows}))

    async def _accept(self, client: HttpClient) -> None:
        body = await client.read()
        self._authenticate(client, body)
        asked = parse_json(body)
        if not isinstance(asked, dict):
            raise InvalidRequestError("the body must be a JSON object", pointer="")
        for name in _MEMBERS:
            text = asked.get(name)
            if not isinstance(text, str) or not 0 < len(text.strip()) <= _TEXT_CHARS_MAX:
                raise InvalidRequestError(f"`{name}` must be a text that is not empty", pointer=f"/{name}")
        pin = await self._pins.accept(
            asked["server"], asked["tool"], asked["digest"], by=asked["by"], reason=asked["reason"]
        )
        await client.send(200, orjson.dumps(_pin(pin)))


def pin_json(standing: Standing) -> JSONObject:
    """Return a tool's pin, and the definition that waits beside it, as JSON."""
    assert standing.pin is not None
    row = _pin(standing.pin)
    row["state"] = "pinned" if standing.in_force is not None else "held"
    if standing.change is not None:
        row["change"] = _pin(standing.change)
    return row


def _pin(pin: Pin) -> JSONObject:
    return {
        "server": pin.server,
        "tool": pin.tool,
        "digest": pin.digest,
        "decision_id": pin.decision_id,
        "at": rfc3339(pin.at_ms),
        "definition": pin.text,
    }
