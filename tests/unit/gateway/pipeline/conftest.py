"""A real store, real policies and a still clock for the tests of the pipeline."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.auth.keys import KeyRing
from gateway.config import PolicyConfig
from gateway.engine.decide import EngineSettings
from gateway.kernel.ids import IdSource
from gateway.live import Live, Snapshot
from gateway.memory.snapshot import MemoryIndex
from gateway.pipeline.decisions import Decisions
from gateway.pipeline.policies import load_policies
from gateway.pipeline.remember import MemoryFeed
from gateway.store.sqlite import SqliteStore, open_sqlite
from tests.kit.entries import StillClock


class SeededRandomness:
    """The same unpredictable bytes in every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


@dataclass(frozen=True)
class Desk:
    """Everything that deciding needs."""

    store: SqliteStore
    live: Live
    clock: StillClock
    ids: IdSource
    decisions: Decisions


@pytest.fixture(scope="session")
def policies():
    """The built-in policies, compiled once."""
    return load_policies(PolicyConfig())


@pytest.fixture
async def desk(tmp_path: Path, policies) -> AsyncIterator[Desk]:
    """A desk with an empty store."""
    clock = StillClock()
    ids = IdSource(clock, SeededRandomness(3))
    store = await open_sqlite(tmp_path / "lumyn.db", clock=clock, randomness=SeededRandomness(5))
    index = MemoryIndex()
    live = Live(Snapshot(policies, index, EngineSettings(), KeyRing([]), top_k=5))
    async with store:
        yield Desk(store, live, clock, ids, Decisions(live, store, clock, ids, MemoryFeed(store, index)))
