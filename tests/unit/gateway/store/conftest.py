"""Fixtures of the store's own tests."""

from __future__ import annotations

import pytest

from tests.kit.postgres import PostgresServer


@pytest.fixture
async def dsn(postgres: PostgresServer) -> str:
    """The URL of a PostgreSQL database without a store."""
    return await postgres.empty()
