"""Builds of the store that are broken on purpose, to show that the fault tests can fail.

    python -m tests.kit.mutants NAME MODULE ARGUMENTS...

breaks the build as NAME says, in this process only, and then runs MODULE as its own program would. Nothing
of the product knows of it.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.store import sqlite_commit, writer
from gateway.store.port import Receipt
from gateway.store.rows import Sealed
from gateway.store.writer import CommitError, Group, GroupWriter

Submit = Callable[..., asyncio.Future[Receipt]]
GUESS: Final = Receipt("guessed", 0, 0)


def _given(group_writer: GroupWriter) -> asyncio.Future[Receipt]:
    receipt: asyncio.Future[Receipt] = group_writer._loop.create_future()
    receipt.set_result(GUESS)
    return receipt


def acknowledge_first() -> None:
    """Give the receipt when the entry is queued, and commit it some time later."""
    honest: Submit = GroupWriter.submit

    def submit(
        self: GroupWriter, entries: tuple[Sealed, ...], *, reserved: bool = False, steps: Any = ()
    ) -> Any:
        honest(self, entries, reserved=reserved, steps=steps)
        return _given(self)

    GroupWriter.submit = submit  # type: ignore[method-assign]


def acknowledge_failed() -> None:
    """Say that the disk is full, and yet acknowledge what it refused."""

    def tell(self: GroupWriter, groups: Sequence[Group]) -> None:
        for group in groups:
            if not group.waiter.done():
                group.waiter.set_result(GUESS)
        self._queue.clear()
        self._queued = 0

    GroupWriter._tell_everyone = tell  # type: ignore[method-assign]


def drop_when_full() -> None:
    """Where the queue is full say yes, and forget it: what logging pipelines do."""
    honest: Submit = GroupWriter.submit

    def submit(
        self: GroupWriter, entries: tuple[Sealed, ...], *, reserved: bool = False, steps: Any = ()
    ) -> Any:
        if self._queued + len(entries) > writer.STORE_QUEUE_MAX:
            return _given(self)
        return honest(self, entries, reserved=reserved, steps=steps)

    GroupWriter.submit = submit  # type: ignore[method-assign]


def unbounded_queue() -> None:
    """Take whatever comes, as long as there is memory."""
    writer.STORE_QUEUE_MAX = 10**9  # type: ignore[misc]


def retry_flush() -> None:
    """Take a failed flush for a passing fault, and try it again."""
    honest = sqlite_commit.commit_error

    def commit_error(error: Any) -> CommitError:
        return CommitError(honest(error).reason, fatal=False)

    sqlite_commit.commit_error = commit_error


def flush_seldom() -> None:
    """`synchronous=NORMAL`: acknowledge what only the kernel has, as lumyn v0 did."""
    from gateway.store import sqlite

    honest = sqlite._prepare_writing

    def prepare(connection: Any, path: str, name: str, now_ms: int) -> Any:
        ledger = honest(connection, path, name, now_ms)
        connection.execute("PRAGMA synchronous = NORMAL")
        return ledger

    sqlite._prepare_writing = prepare


def forget_fates() -> None:
    """Lose the outcomes that an outage meets: those of the batch that failed, and those that come later."""

    def keep(self: GroupWriter, *_: object, **__: object) -> asyncio.Future[Receipt]:
        raise self._unavailable()

    writer.spare = lambda groups, lost: ([*groups], [])  # type: ignore[attr-defined,assignment]
    GroupWriter._keep = keep  # type: ignore[method-assign,assignment]


def never_recover() -> None:
    """Stay down after the first fault."""

    async def probe(*_: object) -> None:
        raise CommitError("still down", fatal=False)

    from gateway.store.sqlite_driver import SqliteDriver

    SqliteDriver.probe = probe  # type: ignore[method-assign,assignment]


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    mutant.__name__: mutant
    for mutant in (
        acknowledge_first,
        acknowledge_failed,
        drop_when_full,
        unbounded_queue,
        retry_flush,
        flush_seldom,
        forget_fates,
        never_recover,
    )
}


def command(mutant: str | None, module: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours, broken or whole."""
    if mutant is None:
        return (sys.executable, "-m", module)
    return (sys.executable, "-m", "tests.kit.mutants", mutant, module)


def main(arguments: Sequence[str]) -> None:
    """Break the build and run the module."""
    MUTANTS[arguments[0]]()
    sys.argv = [*arguments[1:]]
    runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
