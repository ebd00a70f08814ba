"""One suite, every driver: `store` is a fresh, empty store of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.open import open_store
from gateway.store.port import Store
from gateway.system import SystemClock
from tests.kit.entries import CountedRandomness
from tests.kit.postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/lumyn.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await server.empty()


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A fresh, empty store."""
    opened = await open_store(url, clock=SystemClock(), randomness=CountedRandomness())
    yield opened
    await opened.close()
