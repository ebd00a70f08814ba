"""What an answer makes of a row: the same for the asyncio generator and for locust. Pure.

Instants are of one clock; `due_s` is the instant at which the request was due.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from controller.evaluate.arms.data import COMPLETE
from loadtest.rows import Row
from loadtest.sse import Stream

RETRY_BASE_S: Final = 1.0
RETRY_AFTER_MAX_S: Final = 60.0
"""A server that asks for more is given up by the clients that this stands for."""
RETRIABLE: Final = frozenset({429, 503})
ERROR_BYTES_MAX: Final = 65536
"""Of an answer that is no stream: an error says why in far less."""
RETRY_COUNT: Final = "x-stainless-retry-count"
"""What OpenAI's clients say of a repetition."""
_REFUSALS: Final[Mapping[str, str]] = {"SHED": "shed", "EXPIRED": "expired"}


def seen(row: Row, stream: Stream, due_s: float) -> Row:
    """Return the row with what has arrived so far."""
    return replace(
        row,
        ttft_s=None if stream.first_s is None else stream.first_s - due_s,
        tokens_in=stream.input_tokens or 0,
        tokens_out=stream.tokens,
        chunks=row.chunks + stream.chunks,
    )


def headed(row: Row, status: int, headers: Mapping[str, str]) -> Row:
    """Return the row with what the gateway says in its headers."""
    return replace(
        row,
        http_status=status,
        model=headers.get("x-lumyn-model", "") if status == 200 else "",
        actions=tuple(name for name in headers.get("x-lumyn-actions", "").split(",") if name),
        verdict=headers.get("x-lumyn-verdict", ""),
        decision_id=headers.get("x-lumyn-decision-id", ""),
    )


def streamed(row: Row, stream: Stream, done_s: float, due_s: float) -> Row:
    """Return the row of an answer with status 200 that has ended: complete, or why not."""
    if not stream.ended or stream.error:
        return replace(row, status="failed", error=stream.error or "the stream has no end mark")
    return replace(row, status=COMPLETE, e2e_s=done_s - due_s)


def turned_away(row: Row, headers: Mapping[str, str], body: bytes) -> tuple[Row, float | None]:
    """Return the row of an answer with another status, and when another try makes sense; None for never."""
    code = error_code(body)
    again = row.http_status in RETRIABLE
    status = _REFUSALS.get(code, "rejected" if again else "failed")
    return replace(row, status=status, error=code), retry_after_s(headers) if again else None


def decided(row: Row, status: int, body: bytes, done_s: float, due_s: float) -> Row:
    """Return the row of a tool action that was answered."""
    row = replace(row, http_status=status, e2e_s=done_s - due_s)
    record = _object(body)
    if status != 200 or "decision_id" not in record:
        return replace(row, status="failed", error=error_code(body))
    verdict, decision_id = str(record.get("verdict", "")), str(record["decision_id"])
    return replace(row, status=COMPLETE, verdict=verdict, decision_id=decision_id)


def pause_s(wait_s: float, tries: int, u: float) -> float:
    """Return how long a client stays away: as long as the server asked, or longer by backoff with jitter."""
    return max(wait_s, RETRY_BASE_S * 2.0 ** (tries - 1) * (0.5 + u))


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return how long a server asks to wait; 0 where it does not say so in seconds."""
    text = headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_MAX_S) if text.isdecimal() and len(text) < 10 else 0.0


def error_code(body: bytes) -> str:
    """Return the code of an error body, in the shapes of `/v1` and `/v0`."""
    value = _object(body)
    error = value.get("error")
    if isinstance(error, dict):
        return str(error.get("code") or error.get("type") or "error")
    return str(value.get("reason_code") or value.get("detail") or "")[:200]


def _object(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(orjson.JSONDecodeError):
        value = orjson.loads(body)
        if isinstance(value, dict):
            return value
    return {}
