"""The queries of the PostgreSQL store: plain functions on a connection.

Every query is scoped: the tenant is part of its WHERE, or the caller holds `EVERY_TENANT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.records.types import DecisionEntry, EventEntry, MemoryEntry, PolicyEntry
from gateway.store.cursor import next_cursor, place_of, walks
from gateway.store.ledger import SETTLED_WHOLLY
from gateway.store.port import ControlFilter, ControlRecord, DecisionFilter, Page
from gateway.store.postgres_schema import Connection
from gateway.store.rows import ENTRY_LIST, control_of, decision_of, event_of, memory_of, policy_of

EXAMINED_MAX: Final = 5_000
"""Decisions that one page looks through for what its filter wants; each is fetched: some 5 ms."""
_ENTRY: Final = f"SELECT {ENTRY_LIST} FROM entries"  # noqa: S608 - constants
NO_OUTCOME: Final = (
    "NOT EXISTS (SELECT 1 FROM entries AS outcome WHERE outcome.kind = 'event' "
    "AND outcome.decision_id = waiting.entry_id AND outcome.label = 'outcome')"
)
"""Of a decision that the query calls `waiting`."""


class Conditions:
    """A WHERE that grows, with its values as $1, $2, ..."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)
        self.values: list[Any] = []

    def add(self, text: str, *values: object) -> None:
        """Add a condition; each `?` in it becomes the next value's number."""
        for value in values:
            self.values.append(value)
            text = text.replace("?", f"${len(self.values)}", 1)
        self._texts.append(text)

    def add_used(self, conditions: Iterable[tuple[str, object]]) -> None:
        """Add those conditions that have a value."""
        for text, value in conditions:
            if value is not None:
                self.add(text, value)

    def scope(self, scope: Scope) -> None:
        """Confine to a tenant, unless it is the operator who asks."""
        if isinstance(scope, EveryTenant):
            return
        if scope.tenant_id is None:
            self.add("tenant IS NULL")
        else:
            self.add("tenant = ?", scope.tenant_id)

    def __str__(self) -> str:
        return " AND ".join(self._texts)


async def decision(connection: Connection, scope: Scope, decision_id: str) -> DecisionEntry | None:
    """Return one decision of this scope."""
    where = Conditions("kind = 'decision'")
    where.add("entry_id = ?", decision_id)
    where.scope(scope)
    row = await connection.fetchrow(f"{_ENTRY} WHERE {where}", *where.values)
    return None if row is None else decision_of(row)


async def decision_by_key(connection: Connection, tenant: Tenant, request_key: str) -> DecisionEntry | None:
    """Return the decision that holds an idempotency key."""
    where = Conditions("kind = 'decision'")
    where.add("request_key = ?", request_key)
    where.scope(tenant)
    row = await connection.fetchrow(f"{_ENTRY} WHERE {where}", *where.values)
    return None if row is None else decision_of(row)


async def events(connection: Connection, scope: Scope, decision_id: str) -> tuple[EventEntry, ...]:
    """Return the events of a decision, oldest first."""
    where = Conditions("kind = 'event'")
    where.add("decision_id = ?", decision_id)
    where.scope(scope)
    rows = await connection.fetch(f"{_ENTRY} WHERE {where} ORDER BY position", *where.values)
    return tuple(map(event_of, rows))


async def decisions(
    connection: Connection, scope: Scope, wanted: DecisionFilter, limit: int, cursor: str | None
) -> Page:
    """Return a page of decisions, newest first."""
    where = Conditions("kind = 'decision'")
    where.scope(scope)
    where.add_used((("at_ms >= ?", wanted.since_ms), ("at_ms < ?", wanted.until_ms)))
    if cursor is not None:
        where.add("(at_ms, position) < (?, ?)", *place_of(cursor))
    floor_ms = None
    if walks(wanted):
        sql = f"SELECT at_ms FROM entries WHERE {where} ORDER BY at_ms DESC, position DESC "  # noqa: S608 - as below
        floor_ms = await connection.fetchval(f"{sql} LIMIT 1 OFFSET {EXAMINED_MAX - 1}", *where.values)
    reason = None if wanted.reason_code is None else f'"{wanted.reason_code}"'
    where.add_used(
        (
            ("at_ms >= ?", floor_ms),
            ("verdict = ?", wanted.verdict),
            ("action_type = ?", wanted.action_type),
            ("model = ?", wanted.model),
            ("correlation_id = ?", wanted.correlation_id),
            ("strpos(reason_codes, ?) > 0", reason),
        )
    )
    sql = (
        f"SELECT {ENTRY_LIST}, position FROM entries WHERE {where} "  # noqa: S608 - constants and $n
        f"ORDER BY at_ms DESC, position DESC LIMIT {limit + 1:d}"
    )
    rows = await connection.fetch(sql, *where.values)
    last = (rows[limit - 1]["at_ms"], rows[limit - 1]["position"]) if len(rows) > limit else None
    return Page(tuple(map(decision_of, rows[:limit])), next_cursor(last, floor_ms))


async def memory(
    connection: Connection, scope: Scope, after: int, limit: int
) -> tuple[tuple[int, MemoryEntry], ...]:
    """Return memory items in the order of their commit, after a position."""
    where = Conditions("kind = 'memory'")
    where.add("position > ?", after)
    where.scope(scope)
    sql = (
        f"SELECT {ENTRY_LIST}, position FROM entries WHERE {where} "  # noqa: S608 - constants and $n
        f"ORDER BY position LIMIT {limit:d}"
    )
    rows = await connection.fetch(sql, *where.values)
    return tuple((row["position"], memory_of(row)) for row in rows)


async def control(
    connection: Connection, _: EveryTenant, wanted: ControlFilter, after: int, limit: int
) -> tuple[ControlRecord, ...]:
    """Return control records in the order of their positions, after one."""
    where = Conditions("kind = 'control'")
    where.add("position > ?", after)
    where.add_used(
        (
            ("label = ?", wanted.control_type),
            ("entries.writer = (SELECT number FROM writers WHERE writers.writer = ?)", wanted.writer),
            ("at_ms >= ?", wanted.since_ms),
            ("at_ms < ?", wanted.until_ms),
        )
    )
    sql = (
        f"SELECT {ENTRY_LIST}, position, writers.writer AS chain, seq "  # noqa: S608 - constants and $n
        f"FROM entries JOIN writers ON writers.number = entries.writer WHERE {where} "
        f"ORDER BY position LIMIT {limit:d}"
    )
    rows = await connection.fetch(sql, *where.values)
    return tuple(ControlRecord(row["position"], row["chain"], row["seq"], control_of(row)) for row in rows)


async def policy(connection: Connection, policy_hash: str) -> PolicyEntry | None:
    """Return a policy by its hash."""
    row = await connection.fetchrow(f"{_ENTRY} WHERE kind = 'policy' AND entry_id = $1", policy_hash)
    return None if row is None else policy_of(row)


async def dangling(connection: Connection, limit: int) -> tuple[DecisionEntry, ...]:
    """Return decisions that await an outcome and have none, oldest first."""
    sql = f"""
        SELECT {ENTRY_LIST} FROM entries AS waiting WHERE kind = 'decision' AND awaits_outcome = 1
        AND seq > coalesce((SELECT after_seq FROM settled WHERE settled.writer = waiting.writer), -1)
        AND {NO_OUTCOME} ORDER BY position LIMIT $1
    """  # noqa: S608 - constants
    return tuple(map(decision_of, await connection.fetch(sql, limit)))


async def unsettled(connection: Connection) -> list[tuple[int, str, int]]:
    """Return number, id and watermark (a sequence) of every writer that may have left something open."""
    sql = """
        SELECT number, writers.writer, coalesce(after_seq, -1)
        FROM writers LEFT JOIN settled ON settled.writer = number
        WHERE coalesce(after_seq, -1) < $1 ORDER BY number
    """
    return [tuple(row) for row in await connection.fetch(sql, SETTLED_WHOLLY)]


async def left_open(
    connection: Connection, number: int, seq: int, limit: int
) -> list[tuple[int, DecisionEntry]]:
    """Return decisions of one writer after a sequence that have no outcome, oldest first."""
    sql = f"""
        SELECT {ENTRY_LIST}, seq FROM entries AS waiting
        WHERE writer = $1 AND seq > $2 AND kind = 'decision' AND awaits_outcome = 1 AND {NO_OUTCOME}
        ORDER BY seq LIMIT $3
    """  # noqa: S608 - constants
    return [(row["seq"], decision_of(row)) for row in await connection.fetch(sql, number, seq, limit)]
