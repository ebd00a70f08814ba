"""Claims in PostgreSQL: looked up and written in the transaction of a batch, read by the readers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

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
from gateway.store.postgres_read import Conditions
from gateway.store.postgres_schema import Connection

_ALL: Final = f"SELECT {CLAIM_LIST} FROM claims"  # noqa: S608 - constants
_MANY: Final = (
    f"{_ALL} WHERE (space, tenant, name) "  # noqa: S608 - constants
    "IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))"
)
_PUT: Final = (
    f"INSERT INTO claims ({CLAIM_LIST}) "  # noqa: S608 - constants
    f"VALUES ({', '.join(f'${number}' for number in range(1, len(CLAIM_COLUMNS) + 1))}) "
    "ON CONFLICT (space, tenant, name) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in CLAIM_COLUMNS[3:])
)
_DROP: Final = "DELETE FROM claims WHERE space = $1 AND tenant = $2 AND name = $3"


async def look_up(connection: Connection, keys: Collection[ClaimKey]) -> dict[ClaimKey, Claim]:
    """Return what stands of these rows. The caller holds the lock of those who look before they write."""
    if not keys:
        return {}
    rows = await connection.fetch(_MANY, *map(list, zip(*keys, strict=True)))
    found = map(claim_of, rows)
    return {claim.key: claim for claim in found}


async def write(
    connection: Connection, before: Mapping[ClaimKey, Claim], after: Mapping[ClaimKey, Claim]
) -> None:
    """Bring the rows from what was looked up to what is to stand there, in the caller's transaction."""
    written, gone = changes(before, after)
    if written:
        await connection.executemany(_PUT, list(map(claim_row, written)))
    if gone:
        await connection.executemany(_DROP, gone)


async def claim(connection: Connection, tenant: Tenant, space: str, name: str) -> Claim | None:
    """Return what stands under a name."""
    row = await connection.fetchrow(
        f"{_ALL} WHERE space = $1 AND tenant = $2 AND name = $3", space, tenant_column(tenant), name
    )
    return None if row is None else claim_of(row)


async def claims(
    connection: Connection,
    scope: Scope,
    space: str,
    wanted: ClaimFilter,
    limit: int,
    cursor: str | None,
) -> ClaimPage:
    """Return a page of claims, newest decision first."""
    where = Conditions()
    where.add("space = ?", space)
    for text, value in (
        ("tenant = ?", None if isinstance(scope, EveryTenant) else tenant_column(scope)),
        ("owner = ?", wanted.owner),
        ("expires_ms > ?", wanted.alive_ms),
        ("expires_ms <= ?", wanted.expired_ms),
        ("state = ANY(?::text[])", None if wanted.states is None else list(wanted.states)),
        ("decision_id < ?", None if cursor is None else check_id_cursor(cursor)),
    ):
        if value is not None:
            where.add(text, value)
    sql = f"{_ALL} WHERE {where} ORDER BY decision_id DESC LIMIT {limit + 1:d}"
    rows = await connection.fetch(sql, *where.values)
    found = tuple(map(claim_of, rows[:limit]))
    return ClaimPage(found, found[-1].decision_id if len(rows) > limit else None)
