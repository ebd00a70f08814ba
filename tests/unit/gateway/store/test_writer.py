"""Group commit over a driver of our making: bounds, failures, recovery, and that nobody is left hanging."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence

import pytest

from gateway.kernel.bounds import STORE_PATIENCE_S, STORE_QUEUE_MAX
from gateway.kernel.errors import ConflictError, StoreBusyError, StoreUnavailableError
from gateway.store import writer as writer_module
from gateway.store.rows import seal
from gateway.store.writer import CommitError, Group, GroupWriter, Outcome
from gateway.system import SystemClock
from tests.kit.entries import decision, event


class Driver:
    """Commits when it is told to, and fails as it is told to."""

    writer = "W"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.errors: list[Exception] = []
        self.probes: list[CommitError | None] = []
        self.chores_done: list[bool] = []
        self.seq = 0

    async def commit(self, groups: Sequence[Group]) -> Sequence[Outcome]:
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(len(groups))
        self.seq += len(groups)
        return [(self.seq, self.seq)] * len(groups)

    async def probe(self) -> None:
        error = self.probes.pop(0) if self.probes else None
        if error is not None:
            raise error

    async def chores(self, *, last: bool) -> None:
        self.chores_done.append(last)


@pytest.fixture
async def driver() -> Driver:
    return Driver()


@pytest.fixture
async def group_writer(driver: Driver) -> AsyncIterator[GroupWriter]:
    made = GroupWriter(driver, SystemClock())
    yield made
    driver.gate.set()
    await made.close()


ONE = (seal(decision(1)),)


async def test_batches_grow_with_the_load(driver: Driver, group_writer: GroupWriter) -> None:
    """What comes while a commit runs goes together into the next one."""
    driver.gate.clear()
    first = group_writer.submit(ONE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [group_writer.submit(ONE) for _ in range(50)]
    driver.gate.set()
    await asyncio.gather(first, *others)
    assert driver.batches == [1, 50]
    assert group_writer.health().committed == 51


async def test_a_failed_commit_fails_every_waiter_at_once(driver: Driver, group_writer: GroupWriter) -> None:
    """Those in the batch and those in the queue are told; nobody waits for the next try."""
    driver.gate.clear()
    driver.errors = [CommitError("disk full", fatal=False)]
    driver.probes = [CommitError("still full", fatal=False)]
    waiting = [group_writer.submit(ONE)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting += [group_writer.submit(ONE) for _ in range(20)]
    driver.gate.set()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1.0)
    assert all(isinstance(result, StoreUnavailableError) for result in results)
    with pytest.raises(StoreUnavailableError):
        group_writer.submit(ONE)
    while not group_writer.health().ready:
        await asyncio.sleep(0.01)
    assert (await group_writer.submit(ONE)).writer == "W"


async def test_a_fatal_failure_is_final(driver: Driver, group_writer: GroupWriter) -> None:
    """After a failed flush nothing is probed and nothing is tried: health says so."""
    driver.errors = [CommitError("flush failed", fatal=True)]
    with pytest.raises(StoreUnavailableError, match="flush failed"):
        await group_writer.submit(ONE)
    health = group_writer.health()
    assert (health.ready, health.fatal, health.queued) == (False, True, 0)
    await asyncio.sleep(0.1)
    assert not group_writer.health().ready
    await group_writer.close()
    assert driver.chores_done == []


async def test_an_unforeseen_fault_hangs_nobody(driver: Driver, group_writer: GroupWriter) -> None:
    """A driver that raises what it may not is a fatal failure, told to every waiter."""
    driver.errors = [KeyError("surprise")]
    with pytest.raises(StoreUnavailableError, match="surprise"):
        await asyncio.wait_for(group_writer.submit(ONE), 1.0)
    assert group_writer.health().fatal


async def test_a_fault_that_turns_fatal_ends_the_probing(driver: Driver, group_writer: GroupWriter) -> None:
    """A probe that meets a failed flush makes the failure final."""
    driver.errors = [CommitError("full", fatal=False)]
    driver.probes = [CommitError("full", fatal=False), CommitError("flush failed", fatal=True)]
    with pytest.raises(StoreUnavailableError):
        await group_writer.submit(ONE)
    while not group_writer.health().fatal:
        await asyncio.sleep(0.01)
    assert group_writer.health().reason == "flush failed"


async def test_an_overdue_commit_tells_its_waiters(
    driver: Driver, group_writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit over its time fails its waiters; when it ends well after all, the store goes on."""
    monkeypatch.setattr(writer_module, "STORE_COMMIT_S", 0.05)
    driver.gate.clear()
    with pytest.raises(StoreUnavailableError, match="longer than"):
        await group_writer.submit(ONE)
    assert not group_writer.health().ready
    driver.gate.set()
    while not group_writer.health().ready:
        await asyncio.sleep(0.01)
    assert group_writer.health().queued == 0


async def test_a_refused_group_is_refused_alone(driver: Driver, group_writer: GroupWriter) -> None:
    """An outcome that is an error goes to its group only."""

    async def commit(groups: Sequence[Group]) -> Sequence[Outcome]:
        return [ConflictError("taken"), *([(0, 0)] * (len(groups) - 1))]

    driver.commit = commit  # type: ignore[method-assign]
    bad, good = group_writer.submit(ONE), group_writer.submit(ONE)
    with pytest.raises(ConflictError):
        await bad
    assert (await good).first_seq == 0


async def test_closing_commits_what_is_queued(driver: Driver, group_writer: GroupWriter) -> None:
    """Close waits for the queue, does the last chores, and refuses from then on."""
    waiting = [group_writer.submit(ONE) for _ in range(10)]
    await group_writer.close()
    assert all(future.done() for future in waiting)
    assert driver.chores_done == [True]
    with pytest.raises(StoreUnavailableError, match="closed"):
        group_writer.submit(ONE)


async def test_an_outcome_rides_with_the_next_decision(driver: Driver, group_writer: GroupWriter) -> None:
    """What nobody waits for makes no commit of its own while a decision is about to come."""
    outcome = group_writer.submit(ONE, reserved=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert driver.batches == []
    await group_writer.submit(ONE)
    assert driver.batches == [2]
    assert outcome.done()


async def test_an_outcome_alone_is_committed_soon(driver: Driver, group_writer: GroupWriter) -> None:
    """Without a decision to ride with, an outcome goes when its patience is over."""
    await asyncio.wait_for(group_writer.submit(ONE, reserved=True), STORE_PATIENCE_S + 1.0)
    assert driver.batches == [1]


async def test_outcomes_pass_the_bound(driver: Driver, group_writer: GroupWriter) -> None:
    """A full queue refuses decisions and still takes the fates of those it took before."""
    driver.gate.clear()
    waiting = [group_writer.submit(ONE) for _ in range(STORE_QUEUE_MAX)]
    with pytest.raises(StoreBusyError):
        group_writer.submit(ONE)
    waiting.append(group_writer.submit(ONE, reserved=True))
    driver.gate.set()
    await asyncio.gather(*waiting)
    assert group_writer.health().committed == STORE_QUEUE_MAX + 1


async def test_a_crowd_gathers_and_a_lone_caller_waits_for_nobody(
    driver: Driver, group_writer: GroupWriter
) -> None:
    """After a batch of two, one who is back early waits for the other; after a batch of one, nobody waits."""
    await asyncio.gather(group_writer.submit(ONE), group_writer.submit(ONE))
    early = group_writer.submit(ONE)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(early, group_writer.submit(ONE))
    assert driver.batches == [2, 2]
    await group_writer.submit(ONE)
    lone = group_writer.submit(ONE)
    for _ in range(4):
        await asyncio.sleep(0)
    assert lone.done()
    assert driver.batches == [2, 2, 1, 1]


async def test_closing_commits_what_is_patient(driver: Driver) -> None:
    """An outcome that still waits for company is committed before the store closes."""
    writer = GroupWriter(driver, SystemClock())
    writer.submit(ONE, reserved=True)
    await writer.close()
    assert driver.batches == [1]


async def test_an_outcome_that_fails_unheard_complains_to_nobody(
    driver: Driver, group_writer: GroupWriter
) -> None:
    """Health tells of the fault; the loop does not speak of a future that nobody waits for."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    driver.errors = [CommitError("no space", fatal=True)]
    outcome = group_writer.submit(ONE, reserved=True)
    with pytest.raises(StoreUnavailableError, match="no space"):
        await group_writer.submit(ONE)
    assert outcome.done()
    del outcome
    gc.collect()
    await asyncio.sleep(0)
    assert not told


OUTCOME = (seal(event(1, decision(1).entry_id)),)
"""Of the decision in `ONE`."""
EARLIER = (seal(event(2, decision(2).entry_id)),)
"""Of a decision that was committed before."""


async def test_an_outcome_outlives_an_outage(driver: Driver, group_writer: GroupWriter) -> None:
    """One in the failed batch, and one that comes while the store is down, are committed once it is back."""
    driver.errors = [CommitError("disk full", fatal=False)]
    driver.probes = [CommitError("still full", fatal=False)]
    inside = group_writer.submit(EARLIER, reserved=True)
    with pytest.raises(StoreUnavailableError):
        await group_writer.submit(ONE)
    during = group_writer.submit(EARLIER, reserved=True)
    assert not inside.done()
    assert group_writer.health().queued == 2
    await asyncio.wait_for(asyncio.gather(inside, during), 2.0)
    assert driver.batches == [2]
    assert group_writer.health().ready
    assert group_writer.health().queued == 0


async def test_an_outcome_of_a_refused_decision_goes_with_it(
    driver: Driver, group_writer: GroupWriter
) -> None:
    """Whether it was queued behind its decision or comes after the refusal: there is nothing to end."""
    driver.errors = [CommitError("disk full", fatal=False)]
    driver.probes = [CommitError("still full", fatal=False)]
    driver.gate.clear()
    waiting = [group_writer.submit(ONE), group_writer.submit(OUTCOME, reserved=True)]
    await asyncio.sleep(0)
    driver.gate.set()
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1.0)
    assert all(isinstance(one, StoreUnavailableError) for one in found)
    with pytest.raises(StoreUnavailableError):
        group_writer.submit(OUTCOME, reserved=True)
    while not group_writer.health().ready:
        await asyncio.sleep(0.01)
    await group_writer.submit(ONE)
    assert driver.batches == [1]


async def test_what_outlives_an_outage_is_bounded(driver: Driver, group_writer: GroupWriter) -> None:
    """Control records of a long outage fill no more than the queue."""
    driver.errors = [CommitError("disk full", fatal=False)]
    driver.probes = [CommitError("still full", fatal=False)]
    with pytest.raises(StoreUnavailableError):
        await group_writer.submit(ONE)
    kept = [group_writer.submit(EARLIER, reserved=True) for _ in range(STORE_QUEUE_MAX)]
    with pytest.raises(StoreUnavailableError):
        group_writer.submit(EARLIER, reserved=True)
    await asyncio.wait_for(asyncio.gather(*kept), 5.0)
    assert group_writer.health().committed == STORE_QUEUE_MAX


async def test_nothing_outlives_a_fatal_failure(driver: Driver, group_writer: GroupWriter) -> None:
    """Also where the fault turns fatal only later: every waiter is told, and nothing is written again."""
    driver.errors = [CommitError("full", fatal=False)]
    driver.probes = [CommitError("flush failed", fatal=True)]
    with pytest.raises(StoreUnavailableError):
        await group_writer.submit(ONE)
    kept = group_writer.submit(EARLIER, reserved=True)
    with pytest.raises(StoreUnavailableError, match="flush failed"):
        await asyncio.wait_for(kept, 2.0)
    with pytest.raises(StoreUnavailableError):
        group_writer.submit(EARLIER, reserved=True)
    assert driver.batches == []


async def test_closing_in_an_outage_tries_once_more_and_ends(driver: Driver) -> None:
    """What was kept is tried at the end; where the fault is still there, it is refused, and close returns."""
    for errors, refused in ((1, False), (2, True)):
        writer = GroupWriter(driver, SystemClock())
        driver.errors = [CommitError("full", fatal=False)] * errors
        driver.probes = [CommitError("full", fatal=False)] * 50
        kept = writer.submit(EARLIER, reserved=True)
        with pytest.raises(StoreUnavailableError):
            await writer.submit(ONE)
        await asyncio.wait_for(writer.close(), 2.0)
        assert isinstance(kept.exception(), StoreUnavailableError) == refused
        assert driver.batches == [1]


async def test_an_overdue_commit_keeps_what_ends_it(
    driver: Driver, group_writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision whose commit ended well too late has its outcome; one that failed too late has none."""
    monkeypatch.setattr(writer_module, "STORE_COMMIT_S", 0.05)
    for errors, outcomes in (([], 1), ([CommitError("full", fatal=False)], 0)):
        driver.gate.clear()
        driver.errors = errors
        driver.batches.clear()
        with pytest.raises(StoreUnavailableError, match="longer than"):
            await group_writer.submit(ONE)
        outcome = group_writer.submit(OUTCOME, reserved=True)
        driver.gate.set()
        found = await asyncio.wait_for(asyncio.gather(outcome, return_exceptions=True), 2.0)
        assert isinstance(found[0], StoreUnavailableError) == (not outcomes)
        while not group_writer.health().ready:
            await asyncio.sleep(0.01)
        assert driver.batches == [1, 1][: 2 * outcomes]
        assert group_writer.health().queued == 0
