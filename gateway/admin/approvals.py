"""Approvals, for operators: who waits for whom, and a person's word on it.

Listing is guarded as every admin page is. Approving and denying take an operator's own key as well, and
a reason, both of which stand in the event on the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from gateway.auth.operators import OperatorRing
from gateway.auth.signature import SIGNATURE_HEADER, check_signature
from gateway.kernel.bounds import PAGE_DECISIONS_MAX
from gateway.kernel.clock import Clock
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_json
from gateway.listener.client import HttpClient
from gateway.listener.router import Handler, Route
from gateway.pipeline.approvals import Approvals
from gateway.pipeline.told import approval_json, check_reason, read_state, with_request
from gateway.store.port import Store
from gateway.telemetry.metrics import Metrics
from gateway.wire.errors import v0_error_body

_PAGE_DEFAULT: Final = 50
_BODY_BYTES_MAX: Final = 16 * 1024
"""A reason of `REASON_CHARS_MAX` characters, each escaped."""
_PARAMETERS: Final = frozenset({"state", "principal", "limit", "cursor"})


class ApprovalPages:
    """Serves `/admin/approvals`."""

    def __init__(
        self,
        store: Store,
        approvals: Approvals,
        operators: OperatorRing,
        clock: Clock,
        metrics: Metrics,
        *,
        signing_secret: str | None,
    ) -> None:
        self._store = store
        self._approvals = approvals
        self._operators = operators
        self._clock = clock
        self._metrics = metrics
        self._secret = None if signing_secret is None else signing_secret.encode()

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        one = "/admin/approvals/*"
        return (
            Route("GET", "/admin/approvals", self._list, v0_error_body, 0),
            Route("GET", one, self._show, v0_error_body, 0),
            Route("POST", f"{one}/approve", self._resolves(approve=True), v0_error_body, _BODY_BYTES_MAX),
            Route("POST", f"{one}/deny", self._resolves(approve=False), v0_error_body, _BODY_BYTES_MAX),
        )

    def _authenticate(self, client: HttpClient, body: bytes) -> None:
        if self._secret is not None:
            check_signature(self._secret, body, client.header(SIGNATURE_HEADER))

    async def _list(self, client: HttpClient) -> None:
        self._authenticate(client, b"")
        asked = _parameters(client)
        found, cursor = await self._approvals.page(
            read_state(asked.get("state")),
            owner=asked.get("principal"),
            limit=_limit(asked.get("limit")),
            cursor=asked.get("cursor"),
        )
        now_ms = self._clock.wall_ms()
        shown = [await with_request(self._store, approval, now_ms) for approval in found]
        await client.send(200, orjson.dumps({"approvals": shown, "next_cursor": cursor}))

    async def _show(self, client: HttpClient) -> None:
        self._authenticate(client, b"")
        approval = await self._approvals.find(client.path.rpartition("/")[2])
        shown = await with_request(self._store, approval, self._clock.wall_ms())
        await client.send(200, orjson.dumps(shown))

    def _resolves(self, *, approve: bool) -> Handler:
        async def handle(client: HttpClient) -> None:
            body = await client.read()
            self._authenticate(client, body)
            operator = self._operators.operator(client.header("authorization"))
            approval = await self._approvals.resolve(
                client.path.split("/")[3], approve=approve, by=operator, reason=_reason(body)
            )
            self._metrics.approval("approved" if approve else "denied")
            await client.send(200, orjson.dumps(approval_json(approval, self._clock.wall_ms())))

        return handle


def _reason(body: bytes) -> str:
    value = parse_json(body)
    if not isinstance(value, dict) or set(value) != {"reason"}:
        raise InvalidRequestError('the body must be {"reason": "..."}', pointer="")
    return check_reason(value["reason"])


def _parameters(client: HttpClient) -> dict[str, str]:
    try:
        pairs = client.query
    except ValueError:
        raise InvalidRequestError("there are too many parameters") from None
    asked = dict(pairs)
    if len(asked) < len(pairs) or not asked.keys() <= _PARAMETERS:
        raise InvalidRequestError(
            "a parameter is unknown, or given twice", hint=f"use {', '.join(sorted(_PARAMETERS))}, each once"
        )
    return asked


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE_DEFAULT
    plain = text.isascii() and text.isdigit() and len(text) < 10
    if not plain or not 1 <= int(text) <= PAGE_DECISIONS_MAX:
        raise InvalidRequestError(f"`limit` must be a whole number from 1 to {PAGE_DECISIONS_MAX}")
    return int(text)
