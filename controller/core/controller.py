"""The controller: the only object that the loop and the evaluation drive. Pure: time is an argument.

Call `submit` for each request; carry out its plan; call `poll` after every call, and send or refuse what it
returns; tell it `first_token` and `finish`; call `tick` every `TICK_S`. Every decision it hands out can be
made again from the request and snapshot that come with it (`core.replay`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from controller.core.account import Account, IntentReport, renewed
from controller.core.config import ControllerConfig
from controller.core.deployment import Deployment, Flight, pace_s
from controller.core.epochs import Epochs
from controller.core.events import Change, Expiry, Outcome, Release, Submission, TickReport
from controller.core.late import LateRequests
from controller.core.settle import cost_of, cut_by_us, missed_targets, settle, settle_unsent
from controller.core.state import RouteLengths, Sessions, Tally
from controller.core.steps import TickStep
from controller.core.vitals import vitals_of
from controller.guard import Guard, GuardMode, ModeChange, Vitals, set_by_operator
from controller.intent import IntentSet
from controller.plan import (
    Cause,
    Disposition,
    Mode,
    Plan,
    Request,
    Snapshot,
    TickState,
    make_plan,
)
from controller.plan.score import length_at
from controller.queue import Waiting
from controller.verify import Settlement

ROOM_LOAD: Final = -0.2
"""Deferrable work starts when a model is this far below its set point."""
LONG_RANK: Final = 0.975
"""The answer length that the pace must leave room for: 95 % attainment with a margin."""


class Controller:
    """See the module. One instance per gateway process; not safe to share between threads."""

    def __init__(self, config: ControllerConfig, now_s: float) -> None:
        self.config = config
        self.guard = Guard()
        self.operator_mode = Mode.ACTIVE
        self.tally = Tally()
        self.epochs = Epochs()
        self.deployments = {model.name: Deployment(model, config.tuning) for model in config.catalogue}
        self.accounts = {intent.name: Account(intent) for intent in config.intents.intents}
        self.counts = dict.fromkeys(("offered", "completed", "shed", "expired", "failed", "cancelled"), 0)
        self._lengths = RouteLengths(config.lengths_prior)
        self._sessions = Sessions()
        self._flights: dict[str, Flight] = {}
        self._queued: dict[str, tuple[Request, Plan]] = {}
        self._replanned: dict[str, Snapshot] = {}
        self._late = LateRequests()
        self._number = 0
        self._ticked_s = now_s
        self.state: TickState = self._publish(now_s)

    # --- requests --------------------------------------------------------------------------------

    def submit(self, request: Request, now_s: float) -> Submission:
        """Plan a request and take note of it. `PASS`: send it now; `QUEUE`, `HOLD`: wait for its release."""
        self.counts["offered"] += 1
        snapshot = self.snapshot(request, now_s)
        plan, shadow = self._planned(request, snapshot)
        self._count_demand(request, plan, now_s)
        self._carry_out(request, plan, now_s)
        return Submission(plan, request, snapshot, shadow)

    def snapshot(self, request: Request, now_s: float) -> Snapshot:
        """Return what a plan for `request` would be made from now."""
        return Snapshot(
            tick=self.state,
            now_s=now_s,
            live=tuple(deployment.live() for deployment in self.deployments.values()),
            lengths=self._lengths.table(request.route),
            mode=self._mode_for(request.request_id),
            session_model=self._sessions.get(request.session),
            budget_left_uusd=self._account(request).hard_left_uusd(now_s),
        )

    def poll(self, now_s: float) -> tuple[Release | Expiry, ...]:
        """Return the queued requests that leave now. Cheap when nothing waits."""
        if not self._queued:
            return ()
        self._replan(now_s)
        out: list[Release | Expiry] = []
        bypass = self._effective_mode() is Mode.BYPASS
        for deployment in self.deployments.values():
            while len(deployment.queue) and (bypass or deployment.in_flight < deployment.limit.value):
                if not bypass and not deployment.breaker.usable(now_s):
                    break
                room = bypass or deployment.price.error < ROOM_LOAD
                floor = None if bypass else deployment.shed_priority
                item = deployment.queue.pop(room=room, now_s=now_s, priority_min=floor)
                if item is None:
                    break
                out.append(self._leave(item, now_s))
        return tuple(out)

    def first_token(self, request_id: str, now_s: float) -> None:
        """Take note of a request's first content token."""
        flight = self._flights.get(request_id)
        if flight is not None and flight.first_s is None:
            deployment = self.deployments[flight.model]
            deployment.first_token(flight, now_s)
            prediction = flight.plan.prediction
            deployment.check.add(prediction.ttft_s, prediction.ttft_high_s, now_s - flight.request.arrived_s)

    def finish(self, request_id: str, outcome: Outcome, now_s: float) -> Settlement | None:
        """Take note of how a sent request ended; None for one that is not known."""
        flight = self._flights.pop(request_id, None)
        if flight is None:
            return None
        complete = outcome.status == "complete"
        deployment = self.deployments[flight.model]
        failed = outcome.status in {"failed", "timeout"}
        each = outcome.output_tokens / flight.request.choices  # tokens of one answer
        deployment.ended(flight, each, failed=failed, now_s=now_s)
        cost_uusd = cost_of(flight, outcome, deployment.model)
        account = self._account(flight.request)
        account.spent(cost_uusd - flight.cost_uusd, now_s)
        if complete and outcome.output_tokens and not cut_by_us(flight, outcome):
            self._lengths.add(flight.request.route, round(each))
        settlement = settle(flight, outcome, cost_uusd, now_s)
        self.counts["completed" if complete else _TALLY.get(outcome.status, "failed")] += 1
        if not complete and outcome.status != "client_gone":
            account.counts["failed"] += 1
        if not flight.late and outcome.status != "client_gone":
            self._judged(flight.request, met=settlement.met, now_s=now_s)
        return settlement

    def cancel(self, request_id: str, now_s: float) -> Settlement | None:
        """Take note that the client went away, whether its request waits or is in flight."""
        if request_id not in self._queued:
            return self.finish(request_id, Outcome("client_gone"), now_s)
        request, plan = self._dequeued(request_id)
        self.deployments[plan.model].queue.remove(request_id)
        self._replanned.pop(request_id, None)
        self.counts["cancelled"] += 1
        return settle_unsent(request_id, plan, "client_gone", now_s - request.arrived_s)

    # --- the tick --------------------------------------------------------------------------------

    def tick(self, now_s: float) -> TickReport:
        """Move prices, limits, mode and epochs; plan anew what would come too late; publish the state."""
        dt_s = max(now_s - self._ticked_s, 1e-3)
        self._ticked_s = now_s
        self._number += 1
        self._count_late(now_s)
        changes = self._move_models(dt_s, now_s)
        epochs = self.epochs.tick(self.deployments, now_s)
        before, operator = self.guard.state, self.operator_mode
        vitals = vitals_of(self.deployments, self.accounts, self.epochs, self.tally, now_s)
        mode_change = self._vote(vitals, now_s)
        accounts = tuple(account.tick(dt_s, now_s) for account in self.accounts.values())
        self.state = self._publish(now_s)
        if self._queued and self._effective_mode() is Mode.ACTIVE:
            self._late.find(self.deployments.values(), self._queued, now_s)
            self._replan(now_s)
        else:
            self._late.clear()
        pressed = bool(self._queued) or any(model.price > 0.0 for model in self.state.models)
        models = tuple(deployment.step() for deployment in self.deployments.values())
        step = TickStep(operator, before, vitals, models, accounts, epochs.rolled_back, epochs.marks)
        return TickReport(
            self.state, changes, epochs.opened, epochs.closed, mode_change, pressed, step, epochs.actions
        )

    def _move_models(self, dt_s: float, now_s: float) -> tuple[Change, ...]:
        bias = self.config.bias
        frozen = self._effective_mode() is not Mode.ACTIVE
        changes: list[Change] = []
        for deployment in self.deployments.values():
            # what was rolled back in quiet times must not bind the hands in an overload
            suppressed = self.epochs.book.suppressed(deployment.model.name, "price_up", now_s)
            held = frozen or (suppressed and deployment.demand(now_s) <= 1.0)
            changes += deployment.tick(dt_s, now_s, bias, price_frozen=held)
        return tuple(changes)

    def expire(self, now_s: float) -> tuple[Expiry, ...]:
        """Take out what may expire and whose deadline has passed; call it after each tick."""
        out: list[Expiry] = []
        for deployment in self.deployments.values():
            for item in deployment.queue.expired(now_s):
                request, plan = self._dequeued(item.request_id)
                out.append(self._expired(request, plan, now_s))
        return tuple(out)

    def set_mode(self, mode: Mode, now_s: float) -> ModeChange:
        """Follow the operator: active, shadow or bypass."""
        before = self._effective_mode()
        self.operator_mode = mode
        if mode is Mode.ACTIVE and self.guard.mode is not GuardMode.ACTIVE:
            self.guard = Guard()
        self.state = replace(self.state, mode=self._effective_mode())
        return set_by_operator(before is Mode.ACTIVE, mode.value, now_s)

    def replace_intents(self, intents: IntentSet, now_s: float) -> None:
        """Follow a new set of intents at once; accounts of unchanged ones go on."""
        self.config = self.config.with_intents(intents)
        self.accounts = renewed(self.accounts, intents.intents)
        self.state = self._publish(now_s)

    def reports(self, now_s: float) -> tuple[IntentReport, ...]:
        """Return one report per intent."""
        return tuple(account.report(now_s) for account in self.accounts.values())

    @property
    def in_flight(self) -> int:
        """Return how many requests are sent and not ended."""
        return len(self._flights)

    @property
    def queued(self) -> int:
        """Return how many requests wait."""
        return len(self._queued)

    # --- the inside ------------------------------------------------------------------------------

    def _planned(self, request: Request, snapshot: Snapshot) -> tuple[Plan, Plan | None]:
        try:
            plan = make_plan(request, snapshot)
        except Exception:  # noqa: BLE001  a fault of ours must not touch the request; the guard hears of it
            self.tally.decided(raised=True)
            return make_plan(request, _bypassing(snapshot)), None
        self.tally.decided(raised=False)
        if self.operator_mode is Mode.SHADOW:
            return make_plan(request, _bypassing(snapshot)), plan
        return plan, None

    def _count_demand(self, request: Request, plan: Plan, now_s: float) -> None:
        if plan.options and plan.options[0].model in self.deployments:
            self.deployments[plan.options[0].model].prefers(plan.options[0].work_s, now_s)
        if plan.disposition is not Disposition.SHED:
            self._account(request).planned(request.intent.weight, plan.prediction.cost_uusd, now_s)

    def _carry_out(self, request: Request, plan: Plan, now_s: float) -> None:
        if plan.disposition is Disposition.SHED:
            self._shed(request, plan, now_s)
            return
        deployment = self.deployments.get(plan.model)
        if deployment is None:
            return
        long_answer = length_at(LONG_RANK, self._lengths.table(request.route))
        if plan.max_tokens is not None:
            long_answer = min(long_answer, plan.max_tokens)
        deployment.assigned(plan, request.intent.weight, pace_s(request.intent, long_answer), now_s)
        self._account(request).acted(plan)
        if plan.disposition is Disposition.PASS:
            self._send(request, plan, now_s)
        else:
            self._enqueue(request, plan, now_s)

    def _shed(self, request: Request, plan: Plan, now_s: float) -> None:
        self.counts["shed"] += 1
        self._account(request).counts["shed"] += 1
        self._judged(request, met=False, now_s=now_s)
        if plan.cause is Cause.HARD_BUDGET:
            return  # its own limit, nobody else's work, is what refused it
        for line in plan.options:
            deployment = self.deployments[line.model]
            if deployment.shed_priority is None or deployment.shed_priority < plan.priority:
                deployment.shed_priority = plan.priority

    def _dequeued(self, request_id: str) -> tuple[Request, Plan]:
        request, plan = self._queued.pop(request_id)
        self._account(request).hold(-plan.reserve_uusd)
        return request, plan

    def _enqueue(self, request: Request, plan: Plan, now_s: float) -> None:
        self._queued[request.request_id] = (request, plan)
        self._account(request).hold(plan.reserve_uusd)
        self.deployments[plan.model].queue.push(
            Waiting(
                request_id=request.request_id,
                tenant=request.tenant,
                priority=plan.priority,
                deadline_s=plan.deadline_s,
                work_s=plan.work_s,
                enqueued_s=now_s,
                expires=plan.expires,
                hold_until_s=plan.hold_until_s,
            )
        )

    def _send(self, request: Request, plan: Plan, now_s: float) -> None:
        flight = self.deployments[plan.model].sent(request, plan, now_s)
        self._flights[request.request_id] = flight
        self._account(request).spent(flight.cost_uusd, now_s)
        self._sessions.put(request.session, plan.model)

    def _leave(self, item: Waiting, now_s: float) -> Release | Expiry:
        request, plan = self._dequeued(item.request_id)
        waited_s = now_s - request.arrived_s
        if item.expires and now_s > item.deadline_s:
            return self._expired(request, plan, now_s)
        self._send(request, plan, now_s)
        return Release(item.request_id, plan, waited_s, self._replanned.pop(item.request_id, None))

    def _expired(self, request: Request, plan: Plan, now_s: float) -> Expiry:
        self.counts["expired"] += 1
        self._account(request).counts["expired"] += 1
        self._judged(request, met=False, now_s=now_s)
        waited_s = now_s - request.arrived_s
        reason = f"waited {waited_s:.2f} s for {plan.model}: it could no longer meet its deadline"
        snapshot = self._replanned.pop(request.request_id, None)
        return Expiry(request.request_id, plan, waited_s, reason, snapshot)

    def _replan(self, now_s: float) -> None:
        """Move a few queued requests that would come too late to another rung, while there is time."""
        for request_id in self._late.bite(now_s):
            if request_id in self._queued:
                self._move(request_id, now_s)

    def _move(self, request_id: str, now_s: float) -> None:
        request, old = self._dequeued(request_id)
        queue = self.deployments[old.model].queue
        item = queue.remove(request_id)
        snapshot = self.snapshot(request, now_s)
        plan = make_plan(request, snapshot)
        if plan.disposition is Disposition.SHED or plan.model == old.model:
            self._queued[request_id] = (request, old)
            self._account(request).hold(old.reserve_uusd)
            if item is not None:
                queue.push(item)
            return
        self._replanned[request_id] = snapshot
        self.deployments[plan.model].assigned(plan, request.intent.weight, None, now_s)
        self._account(request).counts["downgraded"] += 1
        # it goes through the queue in any case, so that the next poll releases it with its new plan
        self._enqueue(request, plan, now_s)

    def _count_late(self, now_s: float) -> None:
        """Count running requests that have missed a target already, lest a stalled backend look healthy."""
        for flight in self._flights.values():
            if flight.late:
                continue
            age_s = now_s - flight.request.arrived_s
            first_s = age_s if flight.first_s is None else flight.first_s - flight.request.arrived_s
            if missed_targets(flight.request.intent, first_s, age_s, 0):
                flight.late = True
                self._judged(flight.request, met=False, now_s=now_s)

    def _judged(self, request: Request, *, met: bool, now_s: float) -> None:
        self._account(request).settled(met=met, now_s=now_s)
        rungs = request.intent.rungs(request.model)
        self.epochs.outcome(rungs[0], met=met, now_s=now_s)

    def _account(self, request: Request) -> Account:
        account = self.accounts.get(request.intent.name)
        if account is None:
            account = self.accounts[request.intent.name] = Account(request.intent)
        return account

    def _effective_mode(self) -> Mode:
        if self.operator_mode is Mode.BYPASS:
            return Mode.BYPASS
        return Mode(self.guard.mode.value)

    def _mode_for(self, request_id: str) -> Mode:
        mode = self._effective_mode()
        if mode is Mode.ACTIVE and not self.guard.controls(request_id):
            return Mode.GUARDED
        return mode

    def _vote(self, vitals: Vitals, now_s: float) -> ModeChange | None:
        change = self.guard.tick(vitals, now_s)
        if change is not None and change.after is not change.before:
            self.tally.clear()
            for deployment in self.deployments.values():
                deployment.calm()
        return change

    def _publish(self, now_s: float) -> TickState:
        return TickState(
            number=self._number,
            at_s=now_s,
            mode=self._effective_mode(),
            config_digest=self.config.digest,
            models=tuple(deployment.state(now_s) for deployment in self.deployments.values()),
            intents=tuple(account.state for account in self.accounts.values()),
        )


def _bypassing(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, mode=Mode.BYPASS)


_TALLY: Final = {"client_gone": "cancelled"}
