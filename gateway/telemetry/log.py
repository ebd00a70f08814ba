"""Structured log lines on standard error, written by a thread of their own.

Nothing that a client sent reaches a line: errors are named by type and place, not by their words,
which may quote a request.
"""

from __future__ import annotations

import logging
import queue
import sys
import traceback
from logging.handlers import QueueHandler, QueueListener
from pathlib import PurePath
from typing import Final

import orjson

from gateway.kernel.clock import rfc3339

LOG: Final = logging.getLogger("lumyn")
_LINES_MAX: Final = 10_000
"""Lines that wait for a slow terminal; beyond it lines are lost, records never are."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `event`, and the facts given as `extra={"facts": ...}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "at": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        return orjson.dumps(line | getattr(record, "facts", {})).decode()


class _Quiet(QueueHandler):
    def enqueue(self, record: logging.LogRecord) -> None:
        """Drop the line where the terminal is too slow: the log is not the ledger."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


class _Writer(QueueListener):
    def __init__(self, lines: queue.Queue[logging.LogRecord | None], out: logging.Handler) -> None:
        super().__init__(lines, out)
        self._lines = lines

    def enqueue_sentinel(self) -> None:
        """Wait for room: the end must be heard also where the terminal is slow."""
        self._lines.put(None)


def start_log(level: str) -> QueueListener:
    """Send the `lumyn` logger's lines to standard error; stop the returned listener at the end."""
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_LINES_MAX)
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonFormatter())
    LOG.handlers[:] = [_Quiet(lines)]
    LOG.setLevel(level.upper())
    LOG.propagate = False
    listener = _Writer(lines, out)
    listener.start()
    return listener


def name_fault(error: BaseException) -> dict[str, str]:
    """Return an error's type and the place where it was raised, without its words."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return {"error": type(error).__name__, "place": place}
