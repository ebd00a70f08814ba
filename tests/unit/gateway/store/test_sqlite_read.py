"""Every listing walks an index in its own order: nothing is sorted whole, no row is read in vain."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.kernel.types import EVERY_TENANT, NO_TENANT, Scope, Tenant
from gateway.store import sqlite_read as read
from gateway.store.port import ControlFilter, DecisionFilter
from gateway.store.sqlite_schema import migrate

FILTERS = {
    "any": DecisionFilter(),
    "verdict": DecisionFilter(verdict="TRUST"),
    "action": DecisionFilter(action_type="a"),
    "model": DecisionFilter(model="m"),
    "reason": DecisionFilter(reason_code="R"),
    "time": DecisionFilter(since_ms=1, until_ms=9),
}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A migrated, empty database."""
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as opened:
        migrate(opened, "a.db")
        yield opened


def plans(connection: sqlite3.Connection, function, *arguments: object) -> list[str]:
    """How SQLite would answer what a reading function asks."""
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    function(connection, *arguments)
    connection.set_trace_callback(None)
    return [
        row[3]
        for sql in asked
        if "SELECT" in sql and "-- " not in sql
        for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")
    ]


@pytest.mark.parametrize("scope", [EVERY_TENANT, NO_TENANT, Tenant("acme")], ids=str)
@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("cursor", [None, "5-9"])
def test_a_page_is_read_in_the_order_of_its_index(
    connection: sqlite3.Connection, scope: Scope, name: str, cursor: str | None
) -> None:
    """No listing sorts more than the decisions of one millisecond, whoever asks for whatever."""
    steps = plans(connection, read.decisions, scope, FILTERS[name], 10, cursor)
    index = "decisions_by_time" if scope is EVERY_TENANT else "decisions_by_tenant"
    assert any(index in step for step in steps)
    assert "USE TEMP B-TREE FOR ORDER BY" not in steps


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (read.decision, (EVERY_TENANT, "D")),
        (read.decision_by_key, (Tenant("acme"), "k")),
        (read.events, (EVERY_TENANT, "D")),
        (read.memory, (EVERY_TENANT, 0, 9)),
        (read.control, (EVERY_TENANT, ControlFilter(), 0, 9)),
        (read.control, (EVERY_TENANT, ControlFilter("tick", "W", 1, 9), 0, 9)),
        (read.policy, ("sha256:0",)),
        (read.decisions, (EVERY_TENANT, DecisionFilter(correlation_id="c"), 9, None)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_look_up_searches(connection: sqlite3.Connection, function, arguments: tuple[object, ...]) -> None:
    """No look-up reads the whole table."""
    steps = plans(connection, function, *arguments)
    assert steps
    assert not any(step.startswith("SCAN") for step in steps), steps


def test_a_filter_is_answered_by_the_index_alone(connection: sqlite3.Connection) -> None:
    """Every column of a filter but the correlation lies in both listings' indexes."""
    for index, column in itertools.product(
        ("decisions_by_time", "decisions_by_tenant"),
        ("at_ms", "verdict", "action_type", "model", "reason_codes"),
    ):
        columns = [row[2] for row in connection.execute(f"PRAGMA index_info({index})")]
        assert column in columns
