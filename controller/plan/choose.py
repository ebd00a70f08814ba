"""Choose: from a request and a snapshot to a plan. A pure function, the same bits on any machine.

Order of events: nothing is touched while nothing presses (I1); then every permitted rung under every
permitted cap is scored and the best wins; then comes the queue; shedding is last, never for money (I4),
never across priorities (I3), never by serving below the floor (I2).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from controller.intent import PressureAction
from controller.plan.explain import actions_of, hard_reason, untouched_actions
from controller.plan.score import (
    CAP_RANKS,
    CAP_TOKENS_MIN,
    PRICE_FELT,
    TOO_LATE,
    CapView,
    Outlook,
    cap_view,
    length_at,
    options,
    outlook,
    refusal_rank,
    reserve_uusd,
)
from controller.plan.types import (
    Cause,
    Disposition,
    IntentState,
    LiveState,
    Mode,
    ModelState,
    Option,
    Plan,
    Prediction,
    Request,
    Snapshot,
)

FEASIBLE_MISS: Final = 0.5
"""Below even odds of missing, the preferred model is feasible and nothing is changed without pressure."""
HOPELESS_MISS: Final = 0.9
"""Above this on every rung, the work would be spent on an answer that comes too late."""
STICKINESS: Final = 0.1
"""Of the request's value: a session changes its model only for a gain above this (prefix cache, tone)."""
QUEUE_TTL_S: Final = 60.0
"""Longest wait of a request without a target; llm-d's own default TTL."""
FAILING_MAX: Final = 0.9
"""Below this share of failures a backend still serves those who have no other, as passing through would."""
HOLD_LOAD: Final = -0.2
"""Deferrable work waits until a backend is this far below its set point (`reference/control.md` 2.5)."""
RETRY_AFTER_MAX_S: Final = 30.0
"""Longer advice is a guess: prices halve in less."""


class Rung(NamedTuple):
    """A model that may serve the request, as it stands now."""

    state: ModelState
    live: LiveState
    view: Outlook


def make_plan(request: Request, snapshot: Snapshot) -> Plan:
    """Return the plan for `request` under `snapshot`. Reads nothing else."""
    ceiling = _ceiling(request)
    if snapshot.mode is Mode.BYPASS:
        return _untouched(request, snapshot, ceiling, Cause.BYPASS)
    price = snapshot.tick.intent(request.intent.name)
    pairs = _pairs(request, snapshot)
    if not pairs:
        return _untouched(request, snapshot, ceiling, Cause.IDENTITY)
    bare = cap_view(ceiling, None, snapshot.lengths)
    preferred = _rung(request, *pairs[0], snapshot, price)
    (first,) = options(request, preferred.state, preferred.view, (bare,), snapshot, price)
    if _identity(request, preferred, first, price):
        return _plan(request, snapshot, preferred, bare, [first], first, Disposition.PASS, Cause.IDENTITY)
    rungs = [preferred, *(_rung(request, *pair, snapshot, price) for pair in pairs[1:])]
    caps = _caps(request, snapshot, ceiling, bare)
    table: list[Option] = []
    for rung in rungs:
        table += options(request, rung.state, rung.view, caps, snapshot, price)
    return _choose(request, snapshot, rungs, caps, table, price)


def _ceiling(request: Request) -> int | None:
    own, allowed = request.max_tokens, request.intent.max_tokens
    if own is None or allowed is None:
        return own if allowed is None else allowed
    return min(own, allowed)


def _pairs(request: Request, snapshot: Snapshot) -> list[tuple[ModelState, LiveState]]:
    """Return the models that may serve the request, best first; of a guarded one the first that can."""
    known = {state.name: index for index, state in enumerate(snapshot.tick.models)}
    found = [
        (snapshot.tick.models[known[name]], snapshot.live[known[name]])
        for name in request.intent.rungs(request.model)
        if name in known and name not in request.without
    ]
    if snapshot.mode is Mode.GUARDED:
        # no downgrades, no learned choice: the first that can be reached at all
        return [pair for pair in found if pair[0].usable][:1] or found[:1]
    return found


def _rung(
    request: Request, state: ModelState, live: LiveState, snapshot: Snapshot, price: IntentState
) -> Rung:
    value = request.intent.weight * price.burn
    return Rung(state, live, outlook(request, state, live, value, snapshot.now_s))


def _identity(request: Request, preferred: Rung, first: Option, price: IntentState) -> bool:
    value = request.intent.weight * price.burn
    return (
        not preferred.view.pressed
        and not first.refused_by
        and first.cost_term <= PRICE_FELT * value
        and first.miss <= FEASIBLE_MISS
        and _may_enter(request, preferred.live)
        and not _holds(request)
    )


def _may_enter(request: Request, live: LiveState) -> bool:
    return live.shed_priority is None or request.intent.priority >= live.shed_priority


def _holds(request: Request) -> bool:
    return request.deferrable and request.intent.allows(PressureAction.DEFER)


def _caps(request: Request, snapshot: Snapshot, ceiling: int | None, bare: CapView) -> list[CapView]:
    if snapshot.mode is Mode.GUARDED or not request.intent.allows(PressureAction.CAP_TOKENS):
        return [bare]
    views = [bare]
    for rank in CAP_RANKS:
        cap = math.ceil(length_at(rank, snapshot.lengths))
        if cap >= CAP_TOKENS_MIN and (ceiling is None or cap < ceiling):
            views.append(cap_view(ceiling, cap, snapshot.lengths))
    return views


def _choose(
    request: Request,
    snapshot: Snapshot,
    rungs: list[Rung],
    caps: list[CapView],
    table: list[Option],
    price: IntentState,
) -> Plan:
    by_name = {rung.state.name: rung for rung in rungs}
    cap_of = {cap.max_tokens: cap for cap in caps}
    open_options = [
        line for line in table if not line.refused_by and _may_enter(request, by_name[line.model].live)
    ]
    if not open_options:
        return _refused(request, snapshot, rungs, caps[0], table)
    best = _sticky(request, snapshot, open_options, price)
    rung, cap = by_name[best.model], cap_of[best.max_tokens]
    shed_cause = _shed_cause(request, open_options, by_name)
    if shed_cause is not None:
        return _plan(request, snapshot, rung, cap, table, best, Disposition.SHED, shed_cause)
    cause = _cause(best, table, by_name)
    return _plan(request, snapshot, rung, cap, table, best, _disposition(request, snapshot, rung), cause)


def _sticky(request: Request, snapshot: Snapshot, lines: list[Option], price: IntentState) -> Option:
    # of equals the earliest stands: the better rung, the longer answer
    best = max(lines, key=lambda line: line.utility)
    if snapshot.session_model is None or best.model == snapshot.session_model:
        return best
    current = [line for line in lines if line.model == snapshot.session_model]
    if current:
        stay = max(current, key=lambda line: line.utility)
        if best.utility - stay.utility <= STICKINESS * request.intent.weight * price.burn:
            return stay
    return best


def _shed_cause(request: Request, lines: list[Option], by_name: dict[str, Rung]) -> Cause | None:
    """Return why the request must be shed, or None."""
    if not request.intent.allows(PressureAction.SHED):
        return None
    if not any(by_name[line.model].view.pressed for line in lines):
        # it would miss on an idle system as well: shedding it would help nobody
        return None
    for line in lines:
        admitted = by_name[line.model].live.admitted_priority
        if admitted is not None and admitted < request.intent.priority:
            return None
    if all(line.miss > HOPELESS_MISS for line in lines):
        return Cause.INFEASIBLE
    if all(line.standing < 0.0 for line in lines):
        return Cause.LATENCY_PRICE
    return None


def _cause(best: Option, table: list[Option], by_name: dict[str, Rung]) -> Cause:
    """Return what moved the choice away from the first line, or what kept it there."""
    first = table[0]
    if (best.model, best.max_tokens) == (first.model, first.max_tokens):
        return Cause.FLOOR if len(by_name) == 1 and first.load_term > first.gain else Cause.IDENTITY
    if first.refused_by:
        if not by_name[first.model].state.usable:
            return Cause.BREAKER
        return Cause.INFEASIBLE if first.refused_by == TOO_LATE else Cause.HARD_BUDGET
    if first.standing >= best.standing:
        return Cause.COST_PRICE
    return Cause.LATENCY_PRICE if first.load_term > best.load_term else Cause.INFEASIBLE


def _disposition(request: Request, snapshot: Snapshot, rung: Rung) -> Disposition:
    if _holds(request) and rung.state.load_error > HOLD_LOAD and snapshot.mode is Mode.ACTIVE:
        return Disposition.HOLD
    # someone of my priority or above waits, or no slot is free
    return Disposition.QUEUE if rung.view.wait_s > 0.0 else Disposition.PASS


def _refused(
    request: Request, snapshot: Snapshot, rungs: list[Rung], bare: CapView, table: list[Option]
) -> Plan:
    """Nothing may serve it now: shed it if that is allowed, else let it wait at the best that there is."""
    cause = hard_reason(table)
    soonest = min(
        (line for line in table if line.max_tokens == bare.max_tokens),
        key=lambda line: (refusal_rank(line.refused_by), line.ttft_s),
    )
    rung = next(rung for rung in rungs if rung.state.name == soonest.model)
    first = rungs[0]
    tried = first.state.failure_share < FAILING_MAX and _may_enter(request, first.live)
    if cause is Cause.BREAKER and tried:
        # there is nowhere else to go, and some requests do get through: better tried than refused
        return _plan(request, snapshot, first, bare, table, table[0], Disposition.PASS, cause)
    admitted = [rung.live.admitted_priority for rung in rungs]
    inverts = any(priority is not None and priority < request.intent.priority for priority in admitted)
    if cause is Cause.HARD_BUDGET or (request.intent.allows(PressureAction.SHED) and not inverts):
        return _plan(request, snapshot, rung, bare, table, soonest, Disposition.SHED, cause)
    return _plan(request, snapshot, rung, bare, table, soonest, Disposition.QUEUE, cause)


def _untouched(request: Request, snapshot: Snapshot, ceiling: int | None, cause: Cause) -> Plan:
    """Pass the request as it is: a model that is not ours to judge, or bypass. Evaluates nothing."""
    rungs = request.intent.rungs(request.model)
    return Plan(
        request_id=request.request_id,
        intent=request.intent.name,
        tick=snapshot.tick.number,
        disposition=Disposition.PASS,
        cause=cause,
        model=rungs[0],
        max_tokens=ceiling,
        priority=request.intent.priority,
        deadline_s=request.arrived_s + QUEUE_TTL_S,
        expires=False,
        hold_until_s=0.0,
        work_s=0.0,
        reserve_uusd=0,
        prediction=Prediction(0.0, 0.0, 0.0, 0.0, 0, 0.0),
        actions=untouched_actions(rungs[0], cause),
        options=(),
        margin=0.0,
    )


def _plan(
    request: Request,
    snapshot: Snapshot,
    rung: Rung,
    cap: CapView,
    table: list[Option],
    chosen: Option,
    disposition: Disposition,
    cause: Cause,
) -> Plan:
    others = [line.utility for line in table if line is not chosen and not line.refused_by]
    deadline_s = _deadline_s(request, rung, cap)
    explicit = request.intent.latency.max_queue_ms is not None
    return Plan(
        request_id=request.request_id,
        intent=request.intent.name,
        tick=snapshot.tick.number,
        disposition=disposition,
        cause=cause,
        model=chosen.model,
        max_tokens=chosen.max_tokens,
        priority=request.intent.priority,
        deadline_s=deadline_s,
        expires=explicit or request.intent.latency.hard or request.intent.allows(PressureAction.SHED),
        hold_until_s=deadline_s if disposition is Disposition.HOLD else 0.0,
        work_s=chosen.work_s,
        reserve_uusd=reserve_uusd(request, rung.state, cap),
        prediction=Prediction(
            wait_s=chosen.wait_s,
            ttft_s=chosen.ttft_s,
            ttft_high_s=chosen.ttft_s * rung.state.coefficients.ttft_spread,
            e2e_s=chosen.e2e_s,
            cost_uusd=chosen.cost_uusd,
            output_tokens=request.choices * cap.mean,
        ),
        actions=actions_of(request, table, chosen, disposition, cause),
        options=tuple(table),
        margin=chosen.utility - max(others) if others else 0.0,
        retry_after_s=_retry_after_s(rung) if disposition is Disposition.SHED else 0.0,
        pressed=cause is not Cause.IDENTITY or disposition is not Disposition.PASS,
    )


def _deadline_s(request: Request, rung: Rung, cap: CapView) -> float:
    """Return when the request must leave the queue to have an even chance of meeting its targets."""
    latency = request.intent.latency
    prefill_s = rung.state.coefficients.prefill_s(request.input_tokens - request.cached_tokens)
    longest_s = QUEUE_TTL_S
    if latency.max_queue_ms is not None:
        longest_s = latency.max_queue_ms / 1000
    if latency.ttft_ms is not None:
        longest_s = min(longest_s, latency.ttft_ms / 1000 - prefill_s)
    if latency.e2e_ms is not None:
        longest_s = min(longest_s, latency.e2e_ms / 1000 - prefill_s - cap.mean * rung.view.tpot_s)
    return request.arrived_s + max(0.0, longest_s)


def _retry_after_s(rung: Rung) -> float:
    """Return how long the work that waits now will take, in whole seconds, at least one."""
    # fsum: a plain sum of floats comes out differently in another version of Python
    ahead_s = math.fsum(work_s for _, work_s in rung.live.ahead)
    return float(min(RETRY_AFTER_MAX_S, max(1.0, math.ceil(ahead_s / rung.state.coefficients.capacity))))
