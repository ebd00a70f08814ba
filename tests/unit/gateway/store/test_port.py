"""Both drivers implement the whole port, and nobody reads without saying for whom."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

from gateway.kernel.types import EveryTenant, Scope, Tenant
from gateway.store.port import Store
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore

METHODS = [name for name, value in vars(Store).items() if inspect.isfunction(value) and name[0] != "_"]
UNSCOPED = {
    "policy": "policies belong to nobody",
    "proof": "an entry's place holds nothing of what it says but its columns; admin and the command line ask",
    "dangling": "the operator's report",
    "mark_unknown": "runs once, at start",
}
"""Reading methods that take no scope, and why that is right."""


@pytest.mark.parametrize("driver", [SqliteStore, PostgresStore])
@pytest.mark.parametrize("name", METHODS)
def test_each_driver_implements_the_port(driver: type, name: str) -> None:
    """Every method is there with the same parameters, types and kind (awaited or at once)."""
    wanted, found = getattr(Store, name), getattr(driver, name)
    assert inspect.signature(found) == inspect.signature(wanted)
    assert inspect.iscoroutinefunction(found) == inspect.iscoroutinefunction(wanted)


@pytest.mark.parametrize("driver", [SqliteStore, PostgresStore])
def test_a_driver_offers_nothing_that_the_other_lacks(driver: type) -> None:
    """Beyond the port there is only the writer's name: callers cannot come to lean on one database."""
    public = {name for name in vars(driver) if not name.startswith("_")}
    assert public == {*METHODS, "writer"}


@pytest.mark.parametrize("name", METHODS)
def test_every_read_says_for_whom(name: str) -> None:
    """A method that reads tenants' data takes a scope, a tenant or the operator's right first, no default."""
    method = getattr(Store, name)
    if not inspect.iscoroutinefunction(method) or name == "close" or name in UNSCOPED:
        return
    first = list(inspect.signature(method).parameters.values())[1]
    assert get_type_hints(method)[first.name] in (Scope, Tenant, EveryTenant)
    assert first.default is inspect.Parameter.empty


def test_nothing_is_excused_that_is_not_there() -> None:
    """The list of exceptions names real methods only."""
    assert set(UNSCOPED) <= set(METHODS)
