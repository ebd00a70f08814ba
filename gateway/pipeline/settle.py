"""Queues what ends an exchange: nobody waits for it, and it never stands without its decision."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.kernel.errors import StoreError
from gateway.pipeline.journal import retrieve
from gateway.pipeline.ports import Recorder
from gateway.records.types import Entry
from gateway.store.claims import ClaimStep
from gateway.store.port import Receipt


def queue(
    recorder: Recorder,
    entries: Sequence[Entry],
    steps: Sequence[ClaimStep] = (),
    *,
    behind: asyncio.Future[Receipt] | None = None,
) -> None:
    """Queue entries and steps. `behind` is the decision's own commit, where the store may yet refuse it.

    Where the store takes nothing, the decision is on record without an outcome, and is marked unknown at
    the next start.
    """
    if behind is not None and not behind.done():
        behind.add_done_callback(lambda done: _queue_if_stored(done, recorder, entries, steps))
        return
    try:
        receipt = recorder.submit(entries, reserved=True, steps=steps)
    except StoreError:
        return
    receipt.add_done_callback(retrieve)


def _queue_if_stored(
    decision: asyncio.Future[Receipt],
    recorder: Recorder,
    entries: Sequence[Entry],
    steps: Sequence[ClaimStep],
) -> None:
    if not decision.cancelled() and decision.exception() is None:
        queue(recorder, entries, steps)
