"""The queries of the SQLite store: plain functions on a connection, run on the thread of a reader.

Every query is scoped: the tenant is part of its WHERE, or the caller holds `EVERY_TENANT`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.records.types import DecisionEntry, EventEntry, MemoryEntry, PolicyEntry
from gateway.store.cursor import next_cursor, place_of, walks
from gateway.store.ledger import SETTLED_WHOLLY
from gateway.store.port import ControlFilter, ControlRecord, DecisionFilter, Page
from gateway.store.rows import ENTRY_LIST, control_of, decision_of, event_of, memory_of, policy_of

Condition: TypeAlias = tuple[str, tuple[Any, ...]]
"""A piece of a WHERE, and its values."""

EXAMINED_MAX: Final = 25_000
"""Decisions that one page looks through for what its filter wants, in the index alone: some 8 ms."""
NO_OUTCOME: Final = (
    "NOT EXISTS (SELECT 1 FROM entries AS outcome INDEXED BY events_by_decision "
    "WHERE outcome.kind = 'event' AND outcome.decision_id = waiting.entry_id AND outcome.label = 'outcome')"
)
"""Of a decision that the query calls `waiting`."""
_DECISION: Final = f"SELECT {ENTRY_LIST} FROM entries WHERE kind = 'decision'"  # noqa: S608 - constants


def decision(connection: sqlite3.Connection, scope: Scope, decision_id: str) -> DecisionEntry | None:
    """Return one decision of this scope."""
    condition, values = _scoped(scope)
    sql = f"{_DECISION} AND entry_id = ?{condition}"
    row = connection.execute(sql, (decision_id, *values)).fetchone()
    return None if row is None else decision_of(row)


def decision_by_key(connection: sqlite3.Connection, tenant: Tenant, request_key: str) -> DecisionEntry | None:
    """Return the decision that holds an idempotency key."""
    sql = f"{_DECISION} AND ifnull(tenant, x'') = ifnull(?, x'') AND request_key = ?"
    row = connection.execute(sql, (tenant.tenant_id, request_key)).fetchone()
    return None if row is None else decision_of(row)


def events(connection: sqlite3.Connection, scope: Scope, decision_id: str) -> tuple[EventEntry, ...]:
    """Return the events of a decision, oldest first."""
    condition, values = _scoped(scope)
    sql = (
        f"SELECT {ENTRY_LIST} FROM entries WHERE kind = 'event' AND decision_id = ?{condition} "  # noqa: S608 - constants
        "ORDER BY position"
    )
    return tuple(event_of(row) for row in connection.execute(sql, (decision_id, *values)))


def decisions(
    connection: sqlite3.Connection, scope: Scope, wanted: DecisionFilter, limit: int, cursor: str | None
) -> Page:
    """Return a page of decisions, newest first."""
    index = "decisions_by_time" if isinstance(scope, EveryTenant) else "decisions_by_tenant"
    if wanted.correlation_id is not None:
        index = "decisions_by_correlation"
    source = f"FROM entries INDEXED BY {index} WHERE kind = 'decision'"
    where, values = _joined((_scoped(scope), _within(wanted), _before(cursor)))
    floor_ms = None
    if walks(wanted):
        sql = f"SELECT at_ms {source}{where} ORDER BY at_ms DESC LIMIT 1 OFFSET ?"
        row = connection.execute(sql, (*values, EXAMINED_MAX - 1)).fetchone()
        floor_ms = None if row is None else int(row[0])
    floor = ("", ()) if floor_ms is None else (" AND at_ms >= ?", (floor_ms,))
    where, values = _joined(((where, values), _wanted(wanted), floor))
    sql = f"SELECT position, {ENTRY_LIST} {source}{where} ORDER BY at_ms DESC, position DESC LIMIT ?"
    rows = connection.execute(sql, (*values, limit + 1)).fetchall()
    found = tuple(decision_of(row[1:]) for row in rows[:limit])
    last = (rows[limit - 1][4], rows[limit - 1][0]) if len(rows) > limit else None
    return Page(found, next_cursor(last, floor_ms))


def memory(
    connection: sqlite3.Connection, scope: Scope, after: int, limit: int
) -> tuple[tuple[int, MemoryEntry], ...]:
    """Return memory items in the order of their commit, after a position."""
    condition, values = _scoped(scope)
    sql = (
        f"SELECT position, {ENTRY_LIST} FROM entries INDEXED BY memory_by_position "  # noqa: S608 - constants
        f"WHERE kind = 'memory' AND position > ?{condition} ORDER BY position LIMIT ?"
    )
    rows = connection.execute(sql, (after, *values, limit))
    return tuple((row[0], memory_of(row[1:])) for row in rows)


def control(
    connection: sqlite3.Connection, _: EveryTenant, wanted: ControlFilter, after: int, limit: int
) -> tuple[ControlRecord, ...]:
    """Return control records in the order of their positions, after one."""
    conditions: tuple[tuple[str, Any], ...] = (
        (" AND label = ?", wanted.control_type),
        (" AND entries.writer = (SELECT number FROM writers WHERE writers.writer = ?)", wanted.writer),
        (" AND at_ms >= ?", wanted.since_ms),
        (" AND at_ms < ?", wanted.until_ms),
    )
    where, values = _used(conditions)
    sql = (
        f"SELECT position, writers.writer, seq, {ENTRY_LIST} "  # noqa: S608 - constants
        "FROM entries INDEXED BY control_by_position CROSS JOIN writers ON writers.number = entries.writer "
        f"WHERE kind = 'control' AND position > ?{where} "
        "ORDER BY position LIMIT ?"
    )
    rows = connection.execute(sql, (after, *values, limit))
    return tuple(ControlRecord(row[0], row[1], row[2], control_of(row[3:])) for row in rows)


def policy(connection: sqlite3.Connection, policy_hash: str) -> PolicyEntry | None:
    """Return a policy by its hash."""
    sql = f"SELECT {ENTRY_LIST} FROM entries WHERE kind = 'policy' AND entry_id = ?"  # noqa: S608 - constants
    row = connection.execute(sql, (policy_hash,)).fetchone()
    return None if row is None else policy_of(row)


def dangling(connection: sqlite3.Connection, limit: int) -> tuple[DecisionEntry, ...]:
    """Return decisions that await an outcome and have none, oldest first."""
    sql = f"""
        SELECT {ENTRY_LIST} FROM entries AS waiting NOT INDEXED
        WHERE position > ? AND kind = 'decision' AND awaits_outcome = 1 AND {NO_OUTCOME}
        ORDER BY position LIMIT ?
    """  # noqa: S608 - constants
    floor = min((position for _, _, position in unsettled(connection)), default=0)
    return tuple(decision_of(row) for row in connection.execute(sql, (floor, limit)))


def unsettled(connection: sqlite3.Connection) -> list[tuple[int, str, int]]:
    """Return number, id and watermark of every writer that may have left something open."""
    sql = """
        SELECT number, writers.writer, max(writers.after_position, ifnull(settled.after_position, 0))
        FROM writers LEFT JOIN settled ON settled.writer = number
        WHERE ifnull(settled.after_position, 0) < ? ORDER BY number
    """
    return connection.execute(sql, (SETTLED_WHOLLY,)).fetchall()


def left_open(
    connection: sqlite3.Connection, number: int, position: int, limit: int
) -> list[tuple[int, DecisionEntry]]:
    """Return decisions of one writer after a position that have no outcome, oldest first."""
    sql = f"""
        SELECT position, {ENTRY_LIST} FROM entries AS waiting NOT INDEXED
        WHERE position > ? AND writer = ? AND kind = 'decision' AND awaits_outcome = 1 AND {NO_OUTCOME}
        ORDER BY position LIMIT ?
    """  # noqa: S608 - constants
    rows = connection.execute(sql, (position, number, limit))
    return [(row[0], decision_of(row[1:])) for row in rows]


def _scoped(scope: Scope) -> Condition:
    if isinstance(scope, EveryTenant):
        return "", ()
    return " AND tenant IS ?", (scope.tenant_id,)


def _within(wanted: DecisionFilter) -> Condition:
    """Turn the times of a filter into conditions that bound the walk."""
    return _used(((" AND at_ms >= ?", wanted.since_ms), (" AND at_ms < ?", wanted.until_ms)))


def _wanted(wanted: DecisionFilter) -> Condition:
    """Turn the rest of a filter into conditions that the listing's index answers by itself."""
    reason = None if wanted.reason_code is None else f'"{wanted.reason_code}"'
    return _used(
        (
            (" AND verdict = ?", wanted.verdict),
            (" AND action_type = ?", wanted.action_type),
            (" AND model = ?", wanted.model),
            (" AND correlation_id = ?", wanted.correlation_id),
            (" AND instr(reason_codes, ?) > 0", reason),
        )
    )


def _used(conditions: Iterable[tuple[str, Any]]) -> Condition:
    """Join those conditions that have a value."""
    return _joined((text, (value,)) for text, value in conditions if value is not None)


def _joined(conditions: Iterable[Condition]) -> Condition:
    used = [*conditions]
    return "".join(text for text, _ in used), tuple(value for _, values in used for value in values)


def _before(cursor: str | None) -> Condition:
    """Turn a cursor into its condition."""
    return ("", ()) if cursor is None else (" AND (at_ms, position) < (?, ?)", place_of(cursor))
