"""Decisions as JSON Lines, each with its events, or as CSV: streamed, page by page, in constant memory.

JSON Lines holds the stored bytes themselves: `{"decision": <record>, "events": [<event>, ...]}`. CSV (RFC
4180, one row a decision) holds the search columns, plain enough for Parquet tools to read: times are whole
milliseconds, reason codes a JSON array, what is absent is empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Final

import orjson

from gateway.kernel.bounds import PAGE_DECISIONS_MAX
from gateway.kernel.types import Scope
from gateway.records.types import DecisionEntry
from gateway.store.port import DecisionFilter, Store

ANY: Final = DecisionFilter()
CSV_COLUMNS: Final = (
    "decision_id",
    "tenant",
    "at_ms",
    "action_type",
    "verdict",
    "reason_codes",
    "policy_hash",
    "model",
    "correlation_id",
    "request_key",
    "request_digest",
)


async def export_json_lines(store: Store, scope: Scope, wanted: DecisionFilter = ANY) -> AsyncIterator[bytes]:
    """Yield one line a decision, newest first, with the line's end. Raises `StoreUnavailableError`."""
    async for entry in walk(store, scope, wanted):
        events = b",".join([event.body for event in await store.events(scope, entry.entry_id)])
        yield b'{"decision":%b,"events":[%b]}\n' % (entry.body, events)


async def export_csv(store: Store, scope: Scope, wanted: DecisionFilter = ANY) -> AsyncIterator[bytes]:
    """Yield the header, then one row a decision, newest first. Raises `StoreUnavailableError`."""
    yield _row(CSV_COLUMNS)
    async for entry in walk(store, scope, wanted):
        yield _row(
            (
                entry.entry_id,
                entry.tenant.tenant_id,
                entry.at_ms,
                entry.action_type,
                entry.verdict,
                orjson.dumps(entry.reason_codes).decode(),
                entry.policy_hash,
                entry.model,
                entry.correlation_id,
                entry.request_key,
                entry.request_digest,
            )
        )


async def walk(
    store: Store, scope: Scope, wanted: DecisionFilter, *, page_max: int = PAGE_DECISIONS_MAX
) -> AsyncIterator[DecisionEntry]:
    """Yield every decision that fits, newest first, page by page. Raises `StoreUnavailableError`."""
    cursor: str | None = None
    while True:
        page = await store.decisions(scope, wanted, limit=page_max, cursor=cursor)
        for entry in page.decisions:
            yield entry
        cursor = page.next_cursor
        if cursor is None:
            return


def _row(values: tuple[object, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()
