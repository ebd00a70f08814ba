"""Claims in PostgreSQL: what is asked, with every value a parameter, and nothing where nothing is claimed."""

from __future__ import annotations

from gateway.kernel.types import EVERY_TENANT, Tenant
from gateway.store import postgres_claims
from gateway.store.claims import CLAIM_COLUMNS, ClaimFilter
from tests.kit.entries import claim, entry_id


class Asked:
    """A connection that keeps what it is asked and has nothing."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    async def fetch(self, sql: str, *values: object) -> list[object]:
        self.calls.append((sql, values))
        return []

    async def executemany(self, sql: str, values: object) -> None:
        self.calls.append((sql, (values,)))


async def test_a_batch_without_claims_asks_nothing() -> None:
    """Plain batches make no round trip for claims."""
    asked = Asked()
    assert await postgres_claims.look_up(asked, ()) == {}
    await postgres_claims.write(asked, {}, {})
    assert asked.calls == []


async def test_rows_are_written_and_dropped() -> None:
    """One statement writes what changed, one takes away what is gone, in the order of the columns."""
    asked = Asked()
    new, gone = claim("new"), claim("gone")
    await postgres_claims.write(asked, {gone.key: gone}, {new.key: new})
    (put, [[row]]), (drop, [[key]]) = asked.calls
    assert put.startswith("INSERT INTO claims")
    assert len(row) == len(CLAIM_COLUMNS)
    assert drop.startswith("DELETE FROM claims")
    assert key == gone.key


async def test_a_listing_is_confined_and_parametrised() -> None:
    """A tenant's listing names it by a parameter; the operator's names none."""
    asked = Asked()
    wanted = ClaimFilter(("open",), owner="bot", alive_ms=1, expired_ms=2)
    page = await postgres_claims.claims(asked, Tenant("acme"), "test", wanted, 7, entry_id(3))
    assert (page.claims, page.next_cursor) == ((), None)
    sql, values = asked.calls[-1]
    assert values == ("test", "=acme", "bot", 1, 2, ["open"], entry_id(3))
    assert "acme" not in sql
    assert sql.endswith("LIMIT 8")
    await postgres_claims.claims(asked, EVERY_TENANT, "test", ClaimFilter(), 7, None)
    assert "tenant =" not in asked.calls[-1][0]
