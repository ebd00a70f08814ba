"""SQLite behind the group writer: the hop to the writing thread, checkpoints, chores.

`run` uses `aiosqlite.Connection._execute`, an internal of the pinned library: the one door by which a whole
batch is one hop (its public calls hop once a statement). tests/unit/gateway/store/test_sqlite.py holds it.

Checkpoints are ours, not SQLite's: its own runs inside a commit (8 ms for 4 MiB, measured) and says nothing
of a failed flush. A connection of its own moves most of it while commits go on; the writer moves the rest.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import aiosqlite

from gateway.kernel.bounds import KIB, MIB
from gateway.kernel.clock import Clock
from gateway.store.anchor import AnchorFile
from gateway.store.sqlite_commit import CHECKPOINT_PAGES, SqliteLedger, checkpoint, commit_error
from gateway.store.writer import CommitError, Group, Outcome

P = ParamSpec("P")
T = TypeVar("T")

SETTLE_ROUNDS: Final = 10
"""The watermark costs a commit of its own: every tenth round of chores is enough."""
CHECKPOINT_BYTES: Final = 4 * MIB
"""Committed between two moves out of the WAL: some 100 ms of full load, so that each one is short."""
ENTRY_BYTES: Final = KIB
"""What an entry writes beside its body: columns and index pages, roughly."""


async def run(
    connection: aiosqlite.Connection,
    function: Callable[Concatenate[sqlite3.Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run a function of the plain connection on the connection's own thread, in one hop."""
    hop: Callable[..., Awaitable[T]] = connection._execute  # noqa: SLF001 - see the module's docstring
    return await hop(function, connection._conn, *args, **kwargs)  # noqa: SLF001 - as above


class SqliteDriver:
    """The `Driver` of the group writer: one hop to the writing thread a batch."""

    def __init__(
        self,
        writing: aiosqlite.Connection,
        moving: aiosqlite.Connection,
        ledger: SqliteLedger,
        anchor: AnchorFile,
        clock: Clock,
    ) -> None:
        self.writer = ledger.ledger.writer
        self._writing = writing
        self._moving = moving
        self._ledger = ledger
        self._anchor = anchor
        self._clock = clock
        self._rounds = 0
        self._unmoved_bytes = 0
        self._move: asyncio.Task[int] | None = None

    async def commit(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Make a batch durable."""
        outcomes = await self._hop(self._ledger.commit, groups)
        self._unmoved_bytes += sum(ENTRY_BYTES + len(entry.row[-1]) for g in groups for entry in g.entries)
        if self._move is not None and self._move.done():
            await self._end_move(self._move)
        elif self._move is None and self._unmoved_bytes >= CHECKPOINT_BYTES:
            self._unmoved_bytes = 0
            self._move = asyncio.get_running_loop().create_task(self._begin_move(), name="store-checkpoint")
        return outcomes

    async def probe(self) -> None:
        """Make one small durable write."""
        await self._hop(self._ledger.probe)

    async def settle(self, number: int) -> None:
        """Note that nothing of a dead writer is open any more. Raises `CommitError`."""
        await self._hop(self._ledger.note_dead, number)

    async def chores(self, *, last: bool) -> None:
        """Anchor the head; every so often, and at last, store how far all is settled."""
        self._rounds += 1
        settle = last or self._rounds % SETTLE_ROUNDS == 0
        await self._hop(self._do_chores, self._clock.wall_ms(), settle=settle, last=last)
        if last and self._move is not None:
            await self._end_move(self._move)

    def _do_chores(self, now_ms: int, *, settle: bool, last: bool) -> None:
        try:
            self._anchor.write(self._ledger.ledger.head(now_ms))
        except OSError as error:
            raise CommitError(f"cannot write the anchor: {error}", fatal=False) from error
        if settle:
            self._ledger.note_settled(last=last)

    async def _begin_move(self) -> int:
        """Move most of the WAL, beside the writer; return how many frames it holds.

        Where the writer will have to move the rest, it is made little first: what was committed while the
        first pass ran takes the writer 15 ms, what was committed during a second one 4 (measured).
        """
        frames, _ = await run(self._moving, checkpoint)
        if frames >= CHECKPOINT_PAGES:
            frames, _ = await run(self._moving, checkpoint)
        return frames

    async def _end_move(self, move: asyncio.Task[int]) -> None:
        """See how the move went; where the WAL is over its bound, let the writer move what is left.

        Raises `CommitError`: a batch is not acknowledged by a store whose flush has failed.
        """
        self._move = None
        try:
            frames = await move
        except sqlite3.Error as error:
            failure = commit_error(error)
            if failure.fatal:
                raise failure from error
            return  # Locked, or no space for the database file: the WAL holds it all, the next move tries.
        if frames >= CHECKPOINT_PAGES:
            await self._hop(self._ledger.checkpoint)

    async def _hop(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await run(self._writing, lambda _: function(*args, **kwargs))


def hold_open(path: Path) -> None:
    """Keep SQLite from flushing once more when the store is closed after a failed flush.

    The last connection to close moves the WAL and flushes; so one more stays open, read-only, on a thread
    that ends with the process. What the WAL holds is read back, and checked, by the next start.
    """
    ready = threading.Event()

    def hold() -> None:
        try:
            connection = sqlite3.connect(path)
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error:
            return  # It cannot be read: then it cannot be moved either.
        finally:
            ready.set()
        threading.Event().wait()
        connection.close()

    threading.Thread(target=hold, name="store-held-open", daemon=True).start()
    ready.wait()
