"""Queues what ends an exchange: nobody waits for it, and it never stands without its decision."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.kernel.errors import StoreError
from gateway.pipeline.ports import Recorder
from gateway.pipeline.sighting import Sighting
from gateway.records.types import Entry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt

KEPT_S: Final = 1.0
"""A commit takes milliseconds; a second is trouble, and the answer is there."""


def queue(
    recorder: Recorder,
    entries: Sequence[Entry],
    steps: Sequence[ClaimStep] = (),
    *,
    behind: asyncio.Future[Receipt] | None = None,
) -> asyncio.Future[Receipt] | None:
    """Queue entries and steps. `behind` is the decision's own commit, where the store may yet refuse it.

    Returns the receipt to come, or None where there is none yet.

    Where the store takes nothing, the decision is on record without an outcome, and is marked unknown at
    the next start.
    """
    if behind is not None and not behind.done():
        behind.add_done_callback(lambda done: _queue_if_stored(done, recorder, entries, steps))
        return None
    try:
        return recorder.submit(entries, reserved=True, steps=steps)
    except StoreError:
        return None


def settle(
    recorder: Recorder,
    sighting: Sighting,
    ends: tuple[Entry, ...],
    promised: asyncio.Future[Receipt] | None,
) -> asyncio.Future[Receipt] | None:
    """Queue what ends an exchange, with what its end claims; return what its answer has to wait for.

    `promised` is the commit of the decision, where that claims something.
    """
    admitted, fate = sighting.admitted, sighting.fate
    assert admitted is not None
    assert fate is not None
    sent, settled = sighting.forwarded_s is not None, admitted.settled
    steps = () if settled is None else settled(fate, sighting.error, sent)
    receipt = queue(recorder, ends, steps, behind=None if sent else promised)
    return None if settled is None else receipt


async def kept(receipt: asyncio.Future[Receipt] | None) -> None:
    """Wait until an end is durable, so that whoever repeats what was just answered finds the answer.

    In an outage nobody waits for long: the record follows when the store is back.
    """
    if receipt is not None:
        await asyncio.wait((receipt,), timeout=KEPT_S)


def _queue_if_stored(
    decision: asyncio.Future[Receipt],
    recorder: Recorder,
    entries: Sequence[Entry],
    steps: Sequence[ClaimStep],
) -> None:
    if not decision.cancelled() and decision.exception() is None:
        queue(recorder, entries, steps)
