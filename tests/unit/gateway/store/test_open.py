"""A URL opens the store it names, or says in one line why not; it never makes a wrong one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gateway.kernel.errors import StoreSetupError
from gateway.store.anchor import anchor_path, read_anchors
from gateway.store.open import is_sqlite, open_store, sqlite_path
from gateway.store.sqlite import SqliteStore
from gateway.system import SystemClock, SystemRandomness
from tests.kit.entries import decision


async def test_a_file_url_opens_a_file(tmp_path: Path) -> None:
    """The store lies where the URL says, its anchor beside it, and the hook is told."""
    told: list[object] = []
    url = f"sqlite:{tmp_path}/a.db"
    store = await open_store(url, clock=SystemClock(), randomness=SystemRandomness(), on_head=told.append)
    assert isinstance(store, SqliteStore)
    await store.submit([decision(1)])
    await store.close()
    assert (tmp_path / "a.db").is_file()
    assert list(read_anchors(anchor_path(tmp_path / "a.db")).values()) == told[-1:]


async def test_a_server_url_opens_a_server(dsn: str, tmp_path: Path) -> None:
    """The store is on the server, and heads go to the anchor that was named."""
    anchor = tmp_path / "heads"
    store = await open_store(dsn, clock=SystemClock(), randomness=SystemRandomness(), anchor=anchor)
    await store.submit([decision(1)])
    await store.close()
    assert [head.seq for head in read_anchors(anchor).values()] == [0]


async def test_without_its_driver_postgresql_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where asyncpg is not installed, the extra is named."""
    monkeypatch.setitem(sys.modules, "gateway.store.postgres", None)
    with pytest.raises(StoreSetupError, match="asyncpg is not installed") as caught:
        await open_store("postgresql://x", clock=SystemClock(), randomness=SystemRandomness())
    assert "postgres" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("url", "answer"), [("sqlite:a", True), ("postgres://x", False), ("postgresql://x", False)]
)
def test_a_url_names_a_file_or_a_server(url: str, answer: bool) -> None:
    """Each scheme that is known is one or the other."""
    assert is_sqlite(url) is answer


@pytest.mark.parametrize("url", ["", "lumyn.db", "mysql://user:secret@host/x", "SQLITE:a"])
async def test_another_scheme_is_refused_without_its_secrets(url: str) -> None:
    """What is not known is refused by its scheme alone: no password stands in a message."""
    with pytest.raises(StoreSetupError) as caught:
        is_sqlite(url)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreSetupError):
        await open_store(url, clock=SystemClock(), randomness=SystemRandomness())


def test_a_parameter_is_refused() -> None:
    """`?mode=memory` would be another store than it looks."""
    with pytest.raises(StoreSetupError, match="no parameters"):
        sqlite_path("sqlite:a.db?mode=memory")
