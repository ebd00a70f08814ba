"""Claims in SQLite: listings walk an index, and a look-up finds exactly its row."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import EVERY_TENANT, NO_TENANT, Scope, Tenant
from gateway.store import sqlite_claims
from gateway.store.claims import ClaimFilter
from gateway.store.sqlite_schema import migrate
from tests.kit.entries import claim


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A migrated, empty database."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as opened:
        migrate(opened, "a.db")
        yield opened


def test_rows_are_written_looked_up_and_dropped(connection: sqlite3.Connection) -> None:
    """What is written over a row replaces it; what is gone is not found."""
    mine, other = claim("a", 1, body=b"x"), claim("a", 2, tenant=Tenant("acme"))
    sqlite_claims.write(connection, {}, {mine.key: mine, other.key: other})
    keys = (mine.key, other.key, claim("b").key)
    assert sqlite_claims.look_up(connection, keys) == {mine.key: mine, other.key: other}
    later = claim("a", 3)
    sqlite_claims.write(connection, {mine.key: mine, other.key: other}, {later.key: later})
    assert sqlite_claims.look_up(connection, keys) == {later.key: later}
    assert sqlite_claims.claim(connection, Tenant("acme"), "test", "a") is None
    assert sqlite_claims.claim(connection, NO_TENANT, "test", "a") == later


@pytest.mark.parametrize("scope", [EVERY_TENANT, NO_TENANT, Tenant("acme")])
def test_a_listing_walks_its_index(connection: sqlite3.Connection, scope: Scope) -> None:
    """No listing sorts: the newest decision comes first by the index."""
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    wanted = ClaimFilter(("open", "done"), owner="bot", alive_ms=1)
    sqlite_claims.claims(connection, scope, "test", wanted, 9, None)
    connection.set_trace_callback(None)
    [plan] = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]
    assert plan.startswith("SEARCH claims USING INDEX claims_by_decision")


def test_a_cursor_of_somebody_else_is_refused(connection: sqlite3.Connection) -> None:
    """A cursor is a decision id, or InvalidRequestError."""
    with pytest.raises(InvalidRequestError):
        sqlite_claims.claims(connection, EVERY_TENANT, "test", ClaimFilter(), 9, "1-2")
