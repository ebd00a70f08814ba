"""The control records of a simulated run, as a ledger holds them: what a gateway would have written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.core import Expiry
from controller.evaluate.policy import Controlled
from controller.evaluate.run import Runner
from controller.evaluate.scenarios import controller_config
from controller.evaluate.workload import Scenario
from controller.evaluate.world import cluster_config
from controller.plan import Plan, Request, Snapshot, digest, plain
from controller.stored import Ledger, config_body, control_part, table_part, tick_body
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.parse import parse_json
from gateway.records.types import ControlEntry, Entry
from gateway.store.port import Store
from tests.kit.entries import START_MS, decision, entry_id


@dataclass
class Kept:
    """What was noted, through canonical JSON and back, in the order of the chain."""

    records: list[tuple[str, Any]] = field(default_factory=list)
    controls: list[tuple[str, Any]] = field(default_factory=list)
    """The control parts of decisions, by request id."""
    now_s: float = 0.0
    order: list[tuple[float, list[tuple[str, Any]], int]] = field(default_factory=list)
    """When each was kept, in which list, and where in it."""

    def note(self, kind: str, body: Mapping[str, Any]) -> None:
        """Keep a record."""
        self._keep(self.records, kind, body)

    def decided(self, name: str, control: Mapping[str, Any]) -> None:
        """Keep a decision's control part."""
        self._keep(self.controls, name, control)

    def _keep(self, where: list[tuple[str, Any]], name: str, body: Mapping[str, Any]) -> None:
        self.order.append((self.now_s, where, len(where)))
        where.append((name, reread(body)))

    async def store(self, store: Store) -> None:
        """Write it all to a store, in the order in which it was made."""
        for number, (at_s, where, index) in enumerate(self.order):
            name, body = where[index]
            at_ms = START_MS + round(1000 * at_s)
            if where is self.records:
                entry: Entry = ControlEntry(entry_id(number), at_ms, name, canonical_bytes(body))
            else:
                record = {"decision_id": entry_id(number), "extensions": {"control": body}}
                entry = decision(number, at_ms=at_ms, body=canonical_bytes(record))
            receipt = store.submit((entry,), reserved=True)
            if number % 1000 == 0:
                await receipt
        await receipt


def reread(body: Any) -> Any:
    """Return what a reader gets back of a value that was written as canonical JSON."""
    return parse_json(canonical_bytes(body))


class Recording(Controlled):
    """The controller in the evaluation, with a ledger beside it."""

    def __init__(self, scenario: Scenario, kept: Kept) -> None:
        super().__init__(controller_config(scenario), keep_plans=True)
        self._ledger = Ledger(kept)
        self._kept = kept
        self._asked: dict[str, Request] = {}
        self._ledger.note("intents", config_body(self.controller.config, None))
        poll, expire = self.controller.poll, self.controller.expire
        self.controller.poll = lambda now_s: self._left(poll(now_s))  # type: ignore[method-assign]
        self.controller.expire = lambda now_s: self._left(expire(now_s))  # type: ignore[method-assign]

    def arrive(self, request: Request, now_s: float) -> None:
        """Plan it, and keep the plan."""
        self._kept.now_s = now_s
        self._asked[request.request_id] = request
        super().arrive(request, now_s)
        submission = self.submissions.pop()
        self._keep_plan(submission.plan, submission.snapshot)

    def tick(self, now_s: float) -> None:
        """Tick, and keep what is worth it, as `controller.loop` does."""
        self._kept.now_s = now_s
        super().tick(now_s)
        report = self.ticks[-1]
        if report.idle:
            return
        self._ledger.note("tick", tick_body(report.state, digest(report.state), report))
        for epoch in (*report.closed, *report.opened):
            self._ledger.note("epoch", plain(epoch))
        if report.mode_change is not None:
            self._ledger.note("mode", plain(report.mode_change))

    def _left(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        for item in items:
            if item.snapshot is not None:
                self._keep_plan(item.plan, item.snapshot, expired=isinstance(item, Expiry))
        return items

    def _keep_plan(self, plan: Plan, snapshot: Snapshot, *, expired: bool = False) -> None:
        request = self._asked[plan.request_id]
        tick_digest = digest(snapshot.tick)
        control = control_part(request.intent, snapshot.mode.value, snapshot, tick_digest, plan)
        if expired:
            control["actions"].append({"kind": "EXPIRED", "reason": "waited in vain"})
        if plan.pressed:
            self._ledger.hold(snapshot.tick, tick_digest, self.ticks[-1] if self.ticks else None)
            control |= table_part(request, snapshot, tick_digest, plan)
        self._kept.decided(plan.request_id, control)


def recorded(scenario: Scenario, seed: int) -> Kept:
    """Return the ledger of a run."""
    kept = Kept()
    Runner(scenario, seed, Recording(scenario, kept), cluster_config()).run()
    return kept
