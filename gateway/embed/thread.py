"""One thread with one event loop for each store of a process, started on first use.

Callers of any thread hand their work over and wait; the store's own group commit then makes one flush of
what came together. A forked child starts threads of its own and never touches its parent's, and what a
process leaves open is closed when it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from gateway.embed.desk import Desk
from gateway.store.open import is_sqlite, sqlite_path
from gateway.system import SystemClock, SystemRandomness

T = TypeVar("T")

CLOSE_S: Final = 10.0
"""How long the end of a process may wait for the last commit: twice what a commit may take."""


class _Lock:
    """A lock that a forked child replaces: one that another thread held at the fork stays locked for ever."""

    def __init__(self) -> None:
        self.of_process = threading.Lock()


class DeskThread:
    """A desk that callers of any thread may use. `key` is the URL of its store."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.users = 0
        self.held = False
        """Kept until the process ends."""
        self.foreign = False
        """Of the process that this one was forked from: its thread does not run here."""
        self._loop = asyncio.new_event_loop()
        self._desk = Desk(key, SystemClock(), SystemRandomness())
        # A daemon, so that a program which forgets to close still ends; `_close_all` runs before that.
        threading.Thread(target=self._run, name="lumyn-store", daemon=True).start()

    def start(self, work: Callable[[Desk], Coroutine[Any, Any, T]]) -> concurrent.futures.Future[T]:
        """Begin some work on the desk; cancelling the future does not undo what is being written."""
        return asyncio.run_coroutine_threadsafe(work(self._desk), self._loop)

    def call(self, work: Callable[[Desk], Coroutine[Any, Any, T]]) -> T:
        """Do some work on the desk and return its result."""
        return self.start(work).result()

    async def acall(self, work: Callable[[Desk], Coroutine[Any, Any, T]]) -> T:
        """Do some work on the desk without blocking the caller's loop."""
        return await asyncio.wrap_future(self.start(work))

    def close(self) -> None:
        """Commit what is queued, close the store and end the thread."""
        with contextlib.suppress(concurrent.futures.TimeoutError):
            self.start(lambda desk: desk.close()).result(CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


_OPEN: Final[dict[str, DeskThread]] = {}
_LOCK: Final = _Lock()
_INHERITED: Final[list[object]] = []
"""What a forked child got from its parent: kept, because closing it would be the parent's business."""


def shared(url: str) -> DeskThread:
    """Return the thread of a store, started where there is none; it runs until the process ends."""
    key = store_key(url)
    found = _OPEN.get(key)
    if found is not None and found.held:
        return found
    with _LOCK.of_process:
        found = _OPEN.get(key) or DeskThread(key)
        found.held = True
        _OPEN[key] = found
        return found


def acquire(url: str) -> DeskThread:
    """Return the thread of a store for one user more, who will `release` it."""
    key = store_key(url)
    with _LOCK.of_process:
        found = _OPEN.get(key) or DeskThread(key)
        found.users += 1
        _OPEN[key] = found
        return found


def release(thread: DeskThread) -> None:
    """Give a thread back; the last one to do so closes it."""
    with _LOCK.of_process:
        thread.users -= 1
        if thread.users or thread.held or _OPEN.get(thread.key) is not thread:
            return
        del _OPEN[thread.key]
    thread.close()


def store_key(url: str) -> str:
    """Return the URL of a store in one spelling, whatever the working directory is later.

    Raises StoreSetupError for a URL that can name no store.
    """
    if not is_sqlite(url):
        return url
    # No Path: this is asked at every decision.
    return f"sqlite:{os.path.abspath(sqlite_path(url))}"  # noqa: PTH100 - see above


def _close_all() -> None:
    with _LOCK.of_process:
        threads = list(_OPEN.values())
        _OPEN.clear()
    for thread in threads:
        thread.close()


def _after_fork() -> None:
    """Begin anew in a child: the parent's threads do not exist here, and its files are not ours."""
    _LOCK.of_process = threading.Lock()
    _INHERITED.append(dict(_OPEN))
    for thread in _OPEN.values():
        thread.foreign = True
    _OPEN.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
