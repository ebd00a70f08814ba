"""What ends an exchange is queued behind its decision, and never without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.kernel.errors import ClaimTakenError, StoreUnavailableError
from gateway.pipeline import settle as module
from gateway.pipeline.settle import kept, queue
from gateway.records.types import Entry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt
from tests.kit.entries import claim, entry_id, event

OUTCOME = event(1, entry_id(1))
STEPS = (ClaimStep(claim("a")),)


class Recorder:
    """Notes what is submitted."""

    def __init__(self, *, fails: bool = False) -> None:
        self.submitted: list[tuple[Sequence[Entry], bool, Sequence[ClaimStep]]] = []
        self.fails = fails

    def submit(
        self, entries: Sequence[Entry], *, reserved: bool = False, steps: Sequence[ClaimStep] = ()
    ) -> asyncio.Future[Receipt]:
        if self.fails:
            raise StoreUnavailableError("down")
        self.submitted.append((entries, reserved, steps))
        return asyncio.get_running_loop().create_future()


async def test_an_end_is_queued_at_once() -> None:
    """Reserved, with its steps, and the receipt is handed back."""
    recorder = Recorder()
    receipt = queue(recorder, (OUTCOME,), STEPS)
    assert recorder.submitted == [((OUTCOME,), True, STEPS)]
    assert receipt is not None


async def test_a_store_that_is_down_takes_nothing() -> None:
    """Nothing is raised: the next start marks the decision."""
    assert queue(Recorder(fails=True), (OUTCOME,)) is None


@pytest.mark.parametrize("stored", [True, False])
async def test_an_end_waits_for_a_decision_that_may_be_refused(stored: bool) -> None:
    """It is queued once the decision is stored, and never where the store refused it."""
    recorder = Recorder()
    decision: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    assert queue(recorder, (OUTCOME,), STEPS, behind=decision) is None
    assert recorder.submitted == []
    if stored:
        decision.set_result(Receipt("w", 0, 0))
    else:
        decision.set_exception(ClaimTakenError("approval", "used", "D"))
    await asyncio.sleep(0)
    assert len(recorder.submitted) == stored


async def test_a_decision_that_is_stored_keeps_nothing_waiting() -> None:
    """Behind a commit that is done, the end is queued at once."""
    recorder = Recorder()
    decision: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    decision.set_result(Receipt("w", 0, 0))
    assert queue(recorder, (OUTCOME,), behind=decision) is not None


async def test_nobody_waits_long_for_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that is done, that failed or that does not come: the answer goes out."""
    monkeypatch.setattr(module, "KEPT_S", 0.01)
    await kept(None)
    receipt: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    await kept(receipt)
    assert not receipt.done()
    receipt.set_exception(StoreUnavailableError("down"))
    await kept(receipt)
    assert isinstance(receipt.exception(), StoreUnavailableError)
