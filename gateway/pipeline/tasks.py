"""Background tasks that are never lost: named, referenced until they end, their failure logged.

The event loop itself holds only weak references to tasks, so a task nobody keeps may vanish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

_LOG: Final = logging.getLogger("lumyn")
_RUNNING: Final[set[asyncio.Task[Any]]] = set()


def spawn(work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
    """Start `work` in the running loop and keep it until it is done."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _RUNNING.add(task)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    _RUNNING.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("background task %s failed: %s", task.get_name(), type(error).__name__)
