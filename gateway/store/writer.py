"""Group commit: many callers, one durable write at a time, whatever database is behind it.

`submit` only puts a group into a bounded queue and returns a future; one task takes what has gathered,
has the driver commit it, and only then resolves the futures of that batch, all in one go. The batch size
adapts by itself: while one commit runs, the next batch gathers.

What it must never do: resolve a future before its batch is durable; drop a group because its caller is
gone; try a failed flush again (the kernel may have thrown the pages away and say "done" the second time,
see the PostgreSQL community's "fsyncgate", 2018); leave a waiter hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from gateway.kernel.bounds import (
    STORE_BATCH_MAX,
    STORE_COMMIT_S,
    STORE_GATHER_S,
    STORE_PATIENCE_S,
    STORE_QUEUE_MAX,
)
from gateway.kernel.clock import Clock
from gateway.kernel.errors import GatewayError, StoreBusyError, StoreUnavailableError
from gateway.store.claims import ClaimStep
from gateway.store.outage import belongs_to_lost, spare
from gateway.store.port import Receipt, StoreHealth
from gateway.store.rows import Sealed

PROBE_FIRST_S: Final = 0.05
"""First look whether a recoverable fault has gone: a lock is often held for milliseconds."""
PROBE_MAX_S: Final = 1.0
"""The looks back off to one a second: freed disk space is noticed at once by human standards."""
CHORES_S: Final = 1.0
"""Between two rounds of chores (anchor, watermark): the span that a cut tail can hide in."""
BUSY_RETRY_S: Final = 1.0
"""A full queue is half a second of work."""


class CommitError(Exception):
    """The driver could not make a batch durable; nothing of it may be acknowledged.

    `fatal` where no further write may be tried by this process: a flush failed, the file is damaged.
    """

    def __init__(self, reason: str, *, fatal: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fatal = fatal


@dataclass(slots=True, eq=False)
class Group:
    """Entries that are stored together or not at all, and who waits for them."""

    entries: tuple[Sealed, ...]
    waiter: asyncio.Future[Receipt] = field(repr=False)
    patient: bool = False
    """Nobody waits for the receipt: it is committed with the next batch, or soon."""
    steps: tuple[ClaimStep, ...] = ()
    """What is claimed with the entries, in the same transaction."""


Outcome: TypeAlias = tuple[int, int] | GatewayError
"""Of one group: its first and last sequence number, or why it alone was refused."""


class Driver(Protocol):
    """What a database has to offer. Every method raises `CommitError`, and nothing else."""

    @property
    def writer(self) -> str:
        """The id of this writer: a ULID, new with each opening."""
        ...

    async def commit(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        """Make a batch durable and return one outcome a group, in order."""
        ...

    async def probe(self) -> None:
        """Make one small durable write, to see whether the fault has gone."""
        ...

    async def chores(self, *, last: bool) -> None:
        """Anchor the chain's head and note what is settled; `last` where the store is being closed."""
        ...


class GroupWriter:
    """The queue and the task in front of a driver. Belongs to the event loop it was started on."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Group] = deque()
        self._queued = 0
        self._committed = 0
        self._last_commit_s = 0.0
        self._reason = ""
        self._fatal = False
        self._closing = False
        self._batch: Sequence[Group] = ()
        self._lost: set[str] = set()
        self._chores: asyncio.TimerHandle | None = None
        self._chores_due = False
        self._wake: asyncio.Future[None] | None = None
        self._ripe = False
        self._pressing = 0
        self._company = 0
        self._patience: asyncio.TimerHandle | None = None
        self._task = self._loop.create_task(self._run(), name="store-writer")

    def submit(
        self, entries: tuple[Sealed, ...], *, reserved: bool = False, steps: tuple[ClaimStep, ...] = ()
    ) -> asyncio.Future[Receipt]:
        """Queue a group; see `Store.submit` for what it promises and raises."""
        if self._reason or self._closing:
            return self._keep(entries, steps, reserved=reserved)
        if self._queued + len(entries) > STORE_QUEUE_MAX and not reserved:
            raise StoreBusyError(
                f"{self._queued} entries wait to be committed, the bound is {STORE_QUEUE_MAX}",
                hint="send again a little later",
                retry_after_s=BUSY_RETRY_S,
            )
        group = Group(entries, self._loop.create_future(), reserved, steps)
        self._queue.append(group)
        self._queued += len(entries)
        if not reserved:
            self._pressing += 1
            self._ripen()
        elif steps:  # Whoever repeats an action asks at once for what its end has freed.
            self._ripen()
        elif self._patience is None:
            self._patience = self._loop.call_later(STORE_PATIENCE_S, self._ripen)
        return group.waiter

    def _keep(
        self, entries: tuple[Sealed, ...], steps: tuple[ClaimStep, ...], *, reserved: bool
    ) -> asyncio.Future[Receipt]:
        """Queue in an outage what ends something that was admitted before it; raise for all else."""
        over = self._queued + len(entries) > STORE_QUEUE_MAX
        if not reserved or self._fatal or self._closing or over or belongs_to_lost(entries, self._lost):
            raise self._unavailable()
        group = Group(entries, self._loop.create_future(), True, steps)
        self._queue.append(group)
        self._queued += len(entries)
        self._ripe = True
        return group.waiter

    def health(self) -> StoreHealth:
        """Tell the truth, at once."""
        reason = self._reason or ("the store is closed" if self._closing else "")
        return StoreHealth(
            ready=not reason,
            reason=reason,
            queued=self._queued,
            committed=self._committed,
            last_commit_s=self._last_commit_s,
            fatal=self._fatal,
        )

    async def close(self) -> None:
        """Commit what is queued, then stop. Safe to call twice."""
        self._closing = True
        self._rouse()
        await asyncio.shield(self._task)

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if self._queue and (self._ripe or self._closing):
                await self._gather()
                await self._commit(self._take())
                if self._reason and not self._fatal:
                    await self._recover()
            elif not self._chores_due:
                self._wake = self._loop.create_future()
                await self._wake
            if self._chores_due:
                await self._do_chores(last=False)
        if not self._fatal:
            await self._do_chores(last=True)

    def _ripen(self) -> None:
        """Somebody waits, or an outcome has waited long enough."""
        self._ripe = True
        self._rouse()

    async def _gather(self) -> None:
        """Wait a moment for as much company as the last batch had (PostgreSQL's commit_delay, adaptive).

        A commit costs the same for one group as for ten. A lone caller never waits here, and neither do
        callers who have all come back already.
        """
        if self._pressing < self._company and not self._closing:
            await asyncio.sleep(STORE_GATHER_S)

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._wake = None

    def _chores_fall_due(self) -> None:
        self._chores_due = True
        self._rouse()

    async def _do_chores(self, *, last: bool) -> None:
        if self._chores is not None:
            self._chores.cancel()
        self._chores = None
        self._chores_due = False
        # Chores are no part of any promise: what stops them will stop the next commit, and be told there.
        with contextlib.suppress(CommitError):
            await self._driver.chores(last=last)

    def _take(self) -> list[Group]:
        batch: list[Group] = []
        count = 0
        queue = self._queue
        while queue and (not batch or count + len(queue[0].entries) <= STORE_BATCH_MAX):
            group = queue.popleft()
            count += len(group.entries)
            batch.append(group)
        self._company = sum(not group.patient for group in batch)
        self._pressing -= self._company
        self._ripe = bool(queue)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        return batch

    async def _commit(self, batch: list[Group]) -> None:
        self._batch = batch
        started_s = self._clock.monotonic_s()
        overdue = self._loop.call_later(STORE_COMMIT_S, self._overdue)
        try:
            outcomes = await self._driver.commit(batch)
        except CommitError as error:
            self._fail(error.reason, fatal=error.fatal)
        except Exception as error:  # noqa: BLE001 - an unforeseen fault must not leave waiters hanging
            self._fail(f"the store's driver failed: {error!r}", fatal=True)
        else:
            if self._reason:  # It was overdue.
                self._reason = ""
                self._lost.clear()
            self._last_commit_s = self._clock.monotonic_s() - started_s
            self._acknowledge(batch, outcomes)
            if self._chores is None:
                self._chores = self._loop.call_later(CHORES_S, self._chores_fall_due)
        finally:
            overdue.cancel()
            self._batch = ()

    def _acknowledge(self, batch: list[Group], outcomes: Sequence[Outcome]) -> None:
        writer = self._driver.writer
        for group, outcome in zip(batch, outcomes, strict=True):
            self._queued -= len(group.entries)
            waiter = group.waiter
            if isinstance(outcome, GatewayError):
                _refuse(waiter, outcome)
                continue
            self._committed += len(group.entries)
            if not waiter.done():
                waiter.set_result(Receipt(writer, *outcome))

    def _overdue(self) -> None:
        """The running commit takes too long: tell everyone, go on waiting for what becomes of it."""
        self._reason = f"a commit takes longer than {STORE_COMMIT_S:g} s"
        self._tell_everyone(self._queue)
        for group in self._batch:  # It may still be kept: then so is what ends it.
            if not group.patient:
                _refuse(group.waiter, self._unavailable())
        self._queued += sum(len(group.entries) for group in self._batch)

    def _fail(self, reason: str, *, fatal: bool) -> None:
        self._reason = reason
        self._fatal = fatal
        self._tell_everyone((*self._batch, *self._queue))

    def _tell_everyone(self, groups: Sequence[Group]) -> None:
        """Fail every waiter of these, and leave in the queue what outlives an outage, if this is one."""
        refused, kept = spare(groups, self._lost)
        if self._fatal or self._closing:
            refused, kept = [*groups], []
        for group in refused:
            _refuse(group.waiter, self._unavailable())
        self._queue = deque(kept)
        self._queued = sum(len(group.entries) for group in kept)
        self._pressing = 0
        self._ripe = bool(kept)

    async def _recover(self) -> None:
        """Probe until the fault has gone, turned out to be fatal, or the store is closed."""
        delay_s = PROBE_FIRST_S
        while self._reason and not self._fatal and not self._closing:
            self._wake = self._loop.create_future()
            await asyncio.wait((self._wake,), timeout=delay_s)
            self._wake = None
            delay_s = min(delay_s * 2, PROBE_MAX_S)
            try:
                await self._driver.probe()
            except CommitError as error:
                if error.fatal:
                    self._fail(error.reason, fatal=True)
                self._reason = error.reason
            else:
                self._reason = ""
        self._lost.clear()

    def _unavailable(self) -> StoreUnavailableError:
        if self._closing and not self._reason:
            return StoreUnavailableError("the store is closed", hint="the gateway is stopping: ask another")
        hint = (
            "this process writes no more: mend the disk, then start it again"
            if self._fatal
            else "the store goes on by itself once the cause is gone"
        )
        return StoreUnavailableError(
            f"the store cannot commit: {self._reason}", hint=hint, retry_after_s=BUSY_RETRY_S
        )


def _refuse(waiter: asyncio.Future[Receipt], error: GatewayError) -> None:
    if not waiter.done():
        waiter.set_exception(error)
        # Health tells of the fault: a caller that has gone must not add "never retrieved" to the log.
        waiter.exception()
