"""Background tasks: kept while they run, and heard when they fail."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from gateway.pipeline import tasks
from gateway.pipeline.tasks import spawn


async def test_a_task_is_kept_until_it_is_done() -> None:
    """The loop holds a weak reference only; the collector must not take a running task."""
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    spawn(work(), name="work")
    gc.collect()
    assert len(tasks._RUNNING) == 1
    await done.wait()
    await asyncio.sleep(0)
    assert not tasks._RUNNING


async def test_a_failure_is_heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that fails is named in the log, without the words of its error; a cancelled one is silent."""
    monkeypatch.setattr(logging.getLogger("lumyn"), "propagate", True)

    async def fail() -> None:
        raise ValueError("a secret")

    failing = spawn(fail(), name="failing")
    waiting = spawn(asyncio.sleep(60), name="waiting")
    await asyncio.wait([failing])
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == [
        "background task failing failed: ValueError"
    ]
    assert not tasks._RUNNING
