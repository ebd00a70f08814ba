"""Tells living writers of a local file from dead ones: each holds a lock on a file of its own.

The kernel drops the lock at the instant its process dies, however it dies: there is no heartbeat to miss
and no time to wait. `flock` belongs to the open file, so that two stores in one process count as two.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final


def marks_directory(database: Path) -> Path:
    """Return where the lock files of a database's writers lie."""
    return database.with_name(database.name + "-writers")


class LiveMark:
    """A lock that says: this writer lives. Made by `claim`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock up and take its file away. Safe to call twice."""
        if self._descriptor < 0:
            return
        _HELD.discard(self)
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def forget(self) -> None:
        """Let go in a forked child: the lock and its file stay the parent's."""
        os.close(self._descriptor)
        self._descriptor = -1


_HELD: Final[set[LiveMark]] = set()
"""The marks that this process holds."""


def claim(database: Path, writer: str) -> LiveMark | None:
    """Lock the mark of a writer, or return None where a living process holds it. Raises OSError."""
    directory = marks_directory(database)
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{writer}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    mark = LiveMark(path, descriptor)
    _HELD.add(mark)
    return mark


def _after_fork() -> None:
    """Let go of the parent's marks: the lock would outlive the process whose life it stands for."""
    for mark in _HELD:
        mark.forget()
    _HELD.clear()


os.register_at_fork(after_in_child=_after_fork)
