"""The records, for operators: a filtered list, newest first, and one record with its events.

With a signing secret each call is signed, over an empty body (contract, A 11); without one the listener's
loopback address is the guard.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import orjson

from gateway.auth.signature import SIGNATURE_HEADER, check_signature
from gateway.kernel.bounds import PAGE_DECISIONS_MAX
from gateway.kernel.errors import InvalidRequestError, NotFoundError
from gateway.kernel.ids import is_ulid
from gateway.kernel.types import EVERY_TENANT, Scope, Tenant, Verdict
from gateway.listener.client import HttpClient
from gateway.listener.router import Route
from gateway.pipeline.decisions import Decisions
from gateway.store.port import DecisionFilter, Store
from gateway.wire.errors import v0_error_body

_PAGE_DEFAULT: Final = 50
_LIMIT_DIGITS_MAX: Final = 9
"""Python reads a number of a million digits slowly, and nobody means it."""
_PARAMETERS: Final = frozenset(
    {
        "verdict",
        "action_type",
        "tenant",
        "model",
        "reason_code",
        "request_id",
        "since",
        "until",
        "limit",
        "cursor",
    },
)


class RecordPages:
    """Serves `/admin/decisions`."""

    def __init__(self, store: Store, decisions: Decisions, *, signing_secret: str | None) -> None:
        self._store = store
        self._decisions = decisions
        self._secret = None if signing_secret is None else signing_secret.encode()

    def routes(self) -> Sequence[Route]:
        """Return what is served."""
        return (
            Route("GET", "/admin/decisions", self._list, v0_error_body, 0),
            Route("GET", "/admin/decisions/*", self._show, v0_error_body, 0),
        )

    def _authenticate(self, client: HttpClient) -> None:
        if self._secret is not None:
            check_signature(self._secret, b"", client.header(SIGNATURE_HEADER))

    async def _list(self, client: HttpClient) -> None:
        self._authenticate(client)
        asked = _parameters(client)
        page = await self._store.decisions(
            _scope(asked),
            _filter(asked),
            limit=_limit(asked.get("limit")),
            cursor=asked.get("cursor"),
        )
        rows = b",".join(decision.body for decision in page.decisions)
        cursor = orjson.dumps(page.next_cursor)
        await client.send(200, b'{"decisions":[' + rows + b'],"next_cursor":' + cursor + b"}")

    async def _show(self, client: HttpClient) -> None:
        self._authenticate(client)
        decision_id = client.path.rpartition("/")[2]
        if not is_ulid(decision_id):
            raise NotFoundError("not found")
        await client.send(200, await self._decisions.read(EVERY_TENANT, decision_id))


def _parameters(client: HttpClient) -> dict[str, str]:
    asked: dict[str, str] = {}
    try:
        pairs = client.query
    except ValueError:
        raise InvalidRequestError("there are too many parameters") from None
    for name, value in pairs:
        if name not in _PARAMETERS:
            raise InvalidRequestError(
                f"unknown parameter `{name[:40]}`",
                hint=f"use {', '.join(sorted(_PARAMETERS))}",
            )
        if name in asked:
            raise InvalidRequestError(f"`{name}` is given twice")
        asked[name] = value
    return asked


def _scope(asked: dict[str, str]) -> Scope:
    return Tenant(asked["tenant"]) if "tenant" in asked else EVERY_TENANT


def _filter(asked: dict[str, str]) -> DecisionFilter:
    verdict = asked.get("verdict")
    if verdict is not None and verdict not in {known.value for known in Verdict}:
        raise InvalidRequestError("`verdict` must be TRUST, ABSTAIN, ESCALATE or QUERY")
    return DecisionFilter(
        verdict=verdict,
        action_type=asked.get("action_type"),
        model=asked.get("model"),
        reason_code=asked.get("reason_code"),
        correlation_id=asked.get("request_id"),
        since_ms=_instant("since", asked.get("since")),
        until_ms=_instant("until", asked.get("until")),
    )


def _limit(text: str | None) -> int:
    if text is None:
        return _PAGE_DEFAULT
    plain = text.isascii() and text.isdigit() and len(text) <= _LIMIT_DIGITS_MAX
    if not plain or not 1 <= int(text) <= PAGE_DECISIONS_MAX:
        raise InvalidRequestError(f"`limit` must be a whole number from 1 to {PAGE_DECISIONS_MAX}")
    return int(text)


def _instant(name: str, text: str | None) -> int | None:
    """Read RFC 3339 or whole milliseconds since 1970."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    try:
        # In a query a plus sign is a space, and offsets are written with it.
        instant = datetime.fromisoformat(text.replace(" ", "+", 1) if "T" in text else text)
    except ValueError:
        raise InvalidRequestError(
            f"`{name}` is no instant", hint="write 2026-01-31T12:00:00Z or milliseconds since 1970"
        ) from None
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
