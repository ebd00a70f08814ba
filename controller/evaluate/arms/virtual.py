"""Runs in virtual time as arms of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable

from controller.evaluate.arms.data import COMPLETE, Arm, Moment, Offered, Service, Told
from controller.evaluate.arms.words import epoch_words
from controller.evaluate.policy import Controlled, Policy
from controller.evaluate.run import Result, Served
from controller.evaluate.world import Kind
from controller.plan import ActionKind, Mode, Plan, plain

UNTOLD = frozenset({ActionKind.PASSED, ActionKind.BATCHING_HINTED})
"""Actions that are no news."""


def services_of(kinds: Iterable[Kind]) -> tuple[Service, ...]:
    """Return the classes of a workload."""
    return tuple(_service(kind) for kind in kinds)


def _service(kind: Kind) -> Service:
    latency, budget = kind.intent.latency, kind.intent.budget
    return Service(
        name=kind.name,
        ttft_s=None if latency.ttft_ms is None else latency.ttft_ms / 1000,
        e2e_s=None if latency.e2e_ms is None else latency.e2e_ms / 1000,
        models=kind.intent.models,
        usd_per_hour=None if budget is None else budget.usd * 3600 / budget.window_s,
    )


def arm_of(result: Result, policy: Policy, about: str = "") -> Arm:
    """Return a run as an arm. Of the intent controller, with its moments and its decisions in words."""
    ours = policy if isinstance(policy, Controlled) else None
    plans = {} if ours is None else ours.plans
    return Arm(
        name=policy.name,
        about=about,
        offered=tuple(_offered(one, plans.get(one.job.request_id)) for one in result.served),
        moments=() if ours is None else _moments(result, ours),
        told=() if ours is None else tuple(_told(result, ours)),
    )


def _offered(one: Served, plan: Plan | None) -> Offered:
    job = one.job
    complete = one.status == COMPLETE
    return Offered(
        request_id=job.request_id,
        service=job.kind.name,
        at_s=job.at_s,
        status=one.status,
        met=one.met,
        model=one.model,
        ttft_s=one.first_s - job.at_s if math.isfinite(one.first_s) else None,
        e2e_s=one.done_s - job.at_s if complete else None,
        tokens_in=job.input_tokens,
        tokens_out=one.tokens if complete else 0,
        cost_uusd=one.cost_uusd,
        capped=one.cap is not None and one.cap != job.max_tokens,
        cause="" if plan is None else plan.cause.value,
        tries=max(1, one.tries),
    )


def _moments(result: Result, policy: Controlled) -> tuple[Moment, ...]:
    sent = [one for one in result.served if math.isfinite(one.sent_s)]
    return tuple(
        Moment(
            at_s=tick.state.at_s,
            mode=tick.state.mode.value,
            queued=sum(one.job.at_s <= tick.state.at_s < one.sent_s for one in sent),
            in_flight=sum(
                one.sent_s <= tick.state.at_s and not one.done_s <= tick.state.at_s for one in sent
            ),
            prices={model.name: model.price for model in tick.state.models},
            limits={model.name: model.limit for model in tick.state.models},
        )
        for tick in policy.ticks
    )


def _told(result: Result, policy: Controlled) -> Iterable[Told]:
    for one in result.served:
        plan = policy.plans.get(one.job.request_id)
        for action in () if plan is None else plan.actions:
            if action.kind not in UNTOLD:
                yield Told(one.job.at_s, one.job.kind.name, action.kind.value, action.reason)
    mode = Mode.ACTIVE.value
    for tick in policy.ticks:
        if tick.mode_change is not None and tick.mode_change.after.value != mode:
            mode = tick.mode_change.after.value
            yield Told(tick.state.at_s, "controller", "MODE", f"mode {mode}: {tick.mode_change.reason}")
        for epoch in (*tick.opened, *tick.closed):
            yield Told(tick.state.at_s, "controller", "EPOCH", epoch_words(plain(epoch)))
