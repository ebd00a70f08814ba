"""Fixtures that every test shares."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.figures import FIGURES

if TYPE_CHECKING:
    from tests.kit.gateways import RunningGateway, StartGateway
    from tests.kit.postgres import PostgresServer


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the figures that tests noted from a worker to the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the figures of a worker that is done."""
    FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print at the end of a run what was tried, lost and caught."""
    if FIGURES:
        terminalreporter.section("durability figures")
        for figure in sorted(FIGURES):
            terminalreporter.line(figure)


@pytest.fixture
async def start_gateway(tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Whole gateways in this loop, each with a directory of its own, closed at the end of the test.

    Use: `gateway = await start_gateway(backend_url=..., limits={...})`; see `tests/kit/gateways.py`.
    """
    from tests.kit.gateways import running_gateway  # late: most tests need no server

    async with contextlib.AsyncExitStack() as running:
        count = 0

        async def start(**settings: Any) -> RunningGateway:
            nonlocal count
            count += 1
            directory = tmp_path / f"gateway-{count}"
            directory.mkdir()
            return await running.enter_async_context(running_gateway(directory, **settings))

        yield start


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One PostgreSQL server for the whole run."""
    from tests.kit.postgres import postgres_server  # late: most tests need no server

    with postgres_server() as server:
        yield server
