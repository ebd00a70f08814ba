"""The controller, for operators: how intents are met, what it does at the moment, and its mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import orjson

from gateway.auth.signature import SIGNATURE_HEADER, check_signature
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_loose_json
from gateway.listener.client import HttpClient
from gateway.listener.router import Route
from gateway.wire.errors import v0_error_body

_BODY_BYTES_MAX: Final = 1024
"""`{"mode": "..."}` and some room."""


class Controlled(Protocol):
    """The part of the governor that operators see."""

    def intents(self) -> list[dict[str, Any]]:
        """Return one report per intent."""
        ...

    def control(self) -> dict[str, Any]:
        """Return prices, limits, queue and mode."""
        ...

    def set_mode(self, mode: str) -> bool:
        """Follow the operator; False for a mode that is none."""
        ...


class ControlPages:
    """Serves `/admin/intents` and `/admin/control`."""

    def __init__(self, controlled: Controlled, *, signing_secret: str | None) -> None:
        self._controlled = controlled
        self._secret = None if signing_secret is None else signing_secret.encode()

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return (
            Route("GET", "/admin/intents", self._intents, v0_error_body, 0),
            Route("GET", "/admin/control", self._control, v0_error_body, 0),
            Route("PUT", "/admin/control/mode", self._set_mode, v0_error_body, _BODY_BYTES_MAX),
        )

    def _authenticate(self, client: HttpClient, body: bytes) -> None:
        if self._secret is not None:
            check_signature(self._secret, body, client.header(SIGNATURE_HEADER))

    async def _intents(self, client: HttpClient) -> None:
        self._authenticate(client, b"")
        await client.send(200, orjson.dumps({"intents": self._controlled.intents()}))

    async def _control(self, client: HttpClient) -> None:
        self._authenticate(client, b"")
        await client.send(200, orjson.dumps(self._controlled.control()))

    async def _set_mode(self, client: HttpClient) -> None:
        body = await client.read()
        self._authenticate(client, body)
        value = parse_loose_json(body)
        mode = value.get("mode") if isinstance(value, dict) else None
        if not isinstance(mode, str) or not self._controlled.set_mode(mode):
            raise InvalidRequestError("`mode` must be active, shadow or bypass", pointer="/mode")
        await client.send(200, orjson.dumps(self._controlled.control()))
