"""What ends an exchange is queued behind its decision, and never without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.kernel.errors import ClaimTakenError, StoreUnavailableError
from gateway.kernel.types import Fate
from gateway.pipeline import settle as module
from gateway.pipeline.settle import kept, queue, settle
from gateway.pipeline.sighting import Sighting
from gateway.records.types import Entry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt
from tests.kit.entries import claim, entry_id, event
from tests.kit.playbook import verdict

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


@pytest.mark.parametrize("sent", [True, False])
async def test_an_outcome_takes_its_claims_along(sent: bool) -> None:
    """The judge is told the fate and whether it was sent, and the answer awaits what it says of the end."""
    told: list[tuple[object, ...]] = []

    def settled(*facts: object) -> tuple[ClaimStep, ...]:
        told.append(facts)
        return STEPS

    recorder, error = Recorder(), StoreUnavailableError("x")
    sighting = Sighting(0.0, forwarded_s=1.0 if sent else None, fate=Fate.CUT, error=error)
    sighting.admitted = verdict(settled=settled)
    receipt = settle(recorder, sighting, (OUTCOME,), None)
    assert told == [(Fate.CUT, error, sent)]
    assert recorder.submitted == [((OUTCOME,), True, STEPS)]
    assert receipt is not None


async def test_an_outcome_without_claims_is_not_waited_for() -> None:
    """An LLM's answer ends at once, as it always did."""
    recorder = Recorder()
    sighting = Sighting(0.0, forwarded_s=1.0, fate=Fate.COMPLETE)
    sighting.admitted = verdict()
    assert settle(recorder, sighting, (OUTCOME,), None) is None
    assert recorder.submitted == [((OUTCOME,), True, ())]


async def test_an_outcome_waits_for_a_decision_only_if_nothing_was_sent() -> None:
    """What was forwarded was committed before; what was not, may yet be refused."""
    recorder = Recorder()
    decision: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
    sighting = Sighting(0.0, fate=Fate.CLIENT_GONE)
    sighting.admitted = verdict()
    settle(recorder, sighting, (OUTCOME,), decision)
    assert recorder.submitted == []
    decision.set_result(Receipt("w", 0, 0))
    await asyncio.sleep(0)
    assert recorder.submitted == [((OUTCOME,), True, ())]
