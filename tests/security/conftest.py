"""The gateway's own loop: `lumyn serve` runs on uvloop, and so do these tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each asynchronous test of this directory on uvloop."""
    return {"uvloop": uvloop.new_event_loop}
