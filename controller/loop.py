"""The only awaiting file of the controller: hands requests in, wakes those that waited, ticks, journals.

`Loop.admit` is what a request awaits before it may leave; `Loop.run` is the ticking task. The controller
itself is pure and is called from one event loop only. Nothing here may decide anything: a fault in it
passes the request through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.core import Controller, Expiry, Outcome, Release, Submission, TickReport, divert
from controller.core.config import TICK_S
from controller.intent import IntentSet
from controller.llmd.scrape import Scraped, read_metrics
from controller.plan import Disposition, Mode, Plan, Request, Snapshot, digest, plain
from controller.ports import Clock, Journal, SignalSource
from controller.stored import config_body, tick_body
from controller.verify import Settlement

SCRAPE_S: Final = 1.0
SCRAPE_TIMEOUT_S: Final = 0.8
"""Shorter than the period, so that scrapes never pile up."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to `admit`: go under `plan`, or do not."""

    submission: Submission
    plan: Plan
    """The plan in force when it left the queue; it may be newer than the submission's."""
    admitted: bool
    waited_s: float
    release: Release | None = None
    """Set when the request waited; carries what a newer plan was made from."""
    reason: str = ""
    """Why it was not admitted."""
    snapshot: Snapshot | None = None
    """What the plan in force was made from, where it is newer than the submission's."""
    queued_s: float = 0.0
    """How long the caller was kept waiting here; what came before it arrived is not in it."""


class Loop:
    """One controller in an event loop."""

    def __init__(
        self,
        controller: Controller,
        clock: Clock,
        journal: Journal,
        sources: Mapping[str, SignalSource] | None = None,
    ) -> None:
        self.controller = controller
        self.scraped: dict[str, Scraped] = {}
        self.last_tick: TickReport | None = None
        self._clock = clock
        self._journal = journal
        self._sources = dict(sources or {})
        self._waiting: dict[str, asyncio.Future[Release | Expiry]] = {}

    async def admit(self, request: Request) -> Admission:
        """Plan a request and wait for its turn. A cancelled caller leaves nothing in the queue."""
        started_s = self._clock.monotonic_s()
        submission = self.controller.submit(request, started_s)
        self.controller.tally.took(self._clock.monotonic_s() - started_s)
        plan = submission.plan
        if plan.disposition is Disposition.PASS:
            return Admission(submission, plan, admitted=True, waited_s=0.0)
        if plan.disposition is Disposition.SHED:
            reason = "; ".join(action.reason for action in plan.actions)
            return Admission(submission, plan, admitted=False, waited_s=0.0, reason=reason)
        future: asyncio.Future[Release | Expiry] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = future
        self._wake()
        parked_s = self._clock.monotonic_s()
        try:
            outcome = await future
        except asyncio.CancelledError:
            # whether it still waits or was just released: either way nobody will send it
            self.controller.cancel(request.request_id, self._clock.monotonic_s())
            self._wake()
            raise
        finally:
            self._waiting.pop(request.request_id, None)
        if isinstance(outcome, Expiry):
            return Admission(
                submission,
                outcome.plan,
                admitted=False,
                waited_s=outcome.waited_s,
                reason=outcome.reason,
                snapshot=outcome.snapshot,
                queued_s=self._clock.monotonic_s() - parked_s,
            )
        return Admission(
            submission,
            outcome.plan,
            admitted=True,
            waited_s=outcome.waited_s,
            release=outcome,
            snapshot=outcome.snapshot,
            queued_s=self._clock.monotonic_s() - parked_s,
        )

    def first_token(self, request_id: str) -> None:
        """The first content token of an admitted request went by."""
        self.controller.first_token(request_id, self._clock.monotonic_s())

    def finish(self, request_id: str, outcome: Outcome) -> Settlement | None:
        """An admitted request ended; its slot is given to the next."""
        settlement = self.controller.finish(request_id, outcome, self._clock.monotonic_s())
        self._wake()
        return settlement

    def divert(self, plan: Plan, *, failed: bool) -> None:
        """An admitted request goes on under a plan of `core.detour`; its slot is given to the next."""
        divert(self.controller, plan, failed=failed, now_s=self._clock.monotonic_s())
        self._wake()

    def set_mode(self, mode: Mode) -> None:
        """Follow the operator, and note it."""
        change = self.controller.set_mode(mode, self._clock.monotonic_s())
        self._journal.note("mode", plain(change))
        self._wake()

    def replace_intents(self, intents: IntentSet) -> None:
        """Follow a new set of intents, and note it."""
        before = self.controller.config.intents.digest
        self.controller.replace_intents(intents, self._clock.monotonic_s())
        self._journal.note("intents", config_body(self.controller.config, before))

    def tick(self) -> TickReport:
        """Tick once: move prices and limits, refuse what expired, journal what is worth it."""
        now_s = self._clock.monotonic_s()
        report = self.controller.tick(now_s)
        self.last_tick = report
        for expiry in self.controller.expire(now_s):
            self._resolve(expiry)
        self._wake()
        self._note(report)
        return report

    async def run(self) -> None:
        """Tick until cancelled, and scrape beside it. Ticks keep their times; a late one does not pile up."""
        async with asyncio.TaskGroup() as group:
            for model, source in self._sources.items():
                group.create_task(self._scrape(model, source))
            due_s = self._clock.monotonic_s()
            while True:
                due_s = max(due_s + TICK_S, self._clock.monotonic_s())
                await asyncio.sleep(due_s - self._clock.monotonic_s())
                self.tick()

    async def _scrape(self, model: str, source: SignalSource) -> None:
        while True:
            try:
                async with asyncio.timeout(SCRAPE_TIMEOUT_S):
                    text = await source.metrics_text()
                self.scraped[model] = read_metrics(text, model, self._clock.monotonic_s())
            except (OSError, TimeoutError):
                # what was scraped last grows old and reads as unknown by itself
                pass
            await asyncio.sleep(SCRAPE_S)

    def _wake(self) -> None:
        for item in self.controller.poll(self._clock.monotonic_s()):
            self._resolve(item)

    def _resolve(self, item: Release | Expiry) -> None:
        future = self._waiting.get(item.request_id)
        if future is not None and not future.done():
            future.set_result(item)
        elif isinstance(item, Release):
            # its caller is gone between release and wake-up: free the slot again
            self.controller.cancel(item.request_id, self._clock.monotonic_s())

    def _note(self, report: TickReport) -> None:
        if report.idle:
            return
        self._journal.note("tick", tick_body(report.state, digest(report.state), report))
        for epoch in (*report.closed, *report.opened):
            self._journal.note("epoch", plain(epoch))
        if report.mode_change is not None:
            self._journal.note("mode", plain(report.mode_change))
