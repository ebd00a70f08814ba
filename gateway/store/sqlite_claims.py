"""Claims in SQLite: looked up and written on the writing thread, read on the thread of a reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.store.claims import (
    CLAIM_COLUMNS,
    CLAIM_LIST,
    Claim,
    ClaimFilter,
    ClaimKey,
    ClaimPage,
    changes,
    claim_of,
    claim_row,
    tenant_column,
)
from gateway.store.cursor import check_id_cursor

_ONE: Final = f"SELECT {CLAIM_LIST} FROM claims WHERE space = ? AND tenant = ? AND name = ?"  # noqa: S608 - constants
_PUT: Final = f"INSERT OR REPLACE INTO claims ({CLAIM_LIST}) VALUES ({', '.join('?' * len(CLAIM_COLUMNS))})"  # noqa: S608 - constants
_DROP: Final = "DELETE FROM claims WHERE space = ? AND tenant = ? AND name = ?"


def look_up(connection: sqlite3.Connection, keys: Iterable[ClaimKey]) -> dict[ClaimKey, Claim]:
    """Return what stands of these rows. The caller holds the write lock."""
    found = ((key, connection.execute(_ONE, key).fetchone()) for key in keys)
    return {key: claim_of(row) for key, row in found if row is not None}


def write(
    connection: sqlite3.Connection, before: Mapping[ClaimKey, Claim], after: Mapping[ClaimKey, Claim]
) -> None:
    """Bring the rows from what was looked up to what is to stand there, in the caller's transaction."""
    written, gone = changes(before, after)
    connection.executemany(_PUT, map(claim_row, written))
    connection.executemany(_DROP, gone)


def claim(connection: sqlite3.Connection, tenant: Tenant, space: str, name: str) -> Claim | None:
    """Return what stands under a name."""
    row = connection.execute(_ONE, (space, tenant_column(tenant), name)).fetchone()
    return None if row is None else claim_of(row)


def claims(
    connection: sqlite3.Connection,
    scope: Scope,
    space: str,
    wanted: ClaimFilter,
    limit: int,
    cursor: str | None,
) -> ClaimPage:
    """Return a page of claims, newest decision first."""
    tenant = None if isinstance(scope, EveryTenant) else tenant_column(scope)
    conditions: list[tuple[str, Any]] = [
        ("tenant = ?", tenant),
        ("owner = ?", wanted.owner),
        ("expires_ms > ?", wanted.alive_ms),
        ("expires_ms <= ?", wanted.expired_ms),
        ("decision_id < ?", None if cursor is None else check_id_cursor(cursor)),
    ]
    used = [(text, value) for text, value in conditions if value is not None]
    texts = ["space = ?", *(text for text, _ in used)]
    values = [space, *(value for _, value in used)]
    if wanted.states is not None:
        texts.append(f"state IN ({', '.join('?' * len(wanted.states))})")
        values.extend(wanted.states)
    # Few have expired and not yet been swept; everything else is listed as it came.
    index = "claims_by_decision" if wanted.expired_ms is None else "claims_by_expiry"
    sql = (
        f"SELECT {CLAIM_LIST} FROM claims INDEXED BY {index} WHERE {' AND '.join(texts)} "  # noqa: S608 - constants
        "ORDER BY decision_id DESC LIMIT ?"
    )
    rows = connection.execute(sql, (*values, limit + 1)).fetchall()
    found = tuple(map(claim_of, rows[:limit]))
    return ClaimPage(found, found[-1].decision_id if len(rows) > limit else None)
