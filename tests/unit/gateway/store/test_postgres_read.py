"""The WHERE of a query: numbered values, and always a tenant unless the operator asks."""

from __future__ import annotations

import pytest

from gateway.kernel.types import EVERY_TENANT, NO_TENANT, Scope, Tenant
from gateway.store import postgres_read as read
from gateway.store.port import DecisionFilter
from gateway.store.postgres_read import Conditions


def test_values_are_numbered_in_their_order() -> None:
    """Each question mark becomes the number of its value, and no value stands in the text."""
    where = Conditions("kind = 'x'")
    where.add("a = ?", "'; DROP TABLE entries")
    where.add("(b, c) < (?, ?)", 1, 2)
    assert str(where) == "kind = 'x' AND a = $1 AND (b, c) < ($2, $3)"
    assert where.values == ["'; DROP TABLE entries", 1, 2]


@pytest.mark.parametrize(
    ("scope", "text", "values"),
    [
        (EVERY_TENANT, "k", []),
        (NO_TENANT, "k AND tenant IS NULL", []),
        (Tenant("acme"), "k AND tenant = $1", ["acme"]),
        (Tenant(""), "k AND tenant = $1", [""]),
    ],
)
def test_a_scope_confines(scope: Scope, text: str, values: list[str]) -> None:
    """No tenant, an empty one and a named one are three things; only the operator is not confined."""
    where = Conditions("k")
    where.scope(scope)
    assert (str(where), where.values) == (text, values)


class Asked:
    """A connection that keeps what it is asked and has nothing."""

    def __init__(self) -> None:
        self.sql = ""

    async def fetch(self, sql: str, *_: object) -> list[object]:
        self.sql = sql
        return []

    async def fetchval(self, sql: str, *_: object) -> None:
        self.sql = sql

    async def fetchrow(self, sql: str, *_: object) -> None:
        self.sql = sql


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (read.decision, ("D",)),
        (read.events, ("D",)),
        (read.decisions, (DecisionFilter(), 9, None)),
        (read.memory, (0, 9)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_every_read_is_confined(function, arguments: tuple[object, ...]) -> None:
    """Each reading function puts the tenant into its WHERE, and only then."""
    for scope, confined in ((Tenant("acme"), True), (EVERY_TENANT, False)):
        asked = Asked()
        await function(asked, scope, *arguments)
        assert ("tenant = $" in asked.sql) is confined


async def test_a_page_knows_whether_more_follows() -> None:
    """One more than asked for is fetched, so that the last page has no cursor."""
    asked = Asked()
    page = await read.decisions(asked, EVERY_TENANT, DecisionFilter(reason_code="R"), 7, "5-9")
    assert (page.decisions, page.next_cursor) == ((), None)
    assert asked.sql.endswith("LIMIT 8")
    assert "(at_ms, position) < ($1, $2)" in asked.sql
