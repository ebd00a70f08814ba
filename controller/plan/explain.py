"""Say why: actions with one sentence each, from the numbers of the option table. Pure text making."""

from __future__ import annotations

from controller.plan.score import BREAKER_OPEN
from controller.plan.types import Action, ActionKind, Cause, Disposition, Option, Plan, Request


def hard_reason(table: list[Option]) -> Cause:
    """Return why no line of the table may be used."""
    reasons = {line.refused_by for line in table}
    if all("budget" in reason or "ceiling" in reason for reason in reasons):
        return Cause.HARD_BUDGET
    if reasons == {BREAKER_OPEN}:
        return Cause.BREAKER
    return Cause.INFEASIBLE


def actions_of(
    request: Request, table: list[Option], chosen: Option, disposition: Disposition, cause: Cause
) -> tuple[Action, ...]:
    """Return the control actions of a plan; an untouched request has the single action `PASSED`."""
    first = table[0]
    if disposition is Disposition.SHED:
        return (Action(ActionKind.SHED, _shed_reason(table, chosen, cause)),)
    actions: list[Action] = []
    if request.without:
        actions.append(Action(ActionKind.MODEL_SWITCHED, _detour_reason(request, chosen)))
    elif chosen.model != first.model:
        actions.append(Action(ActionKind.MODEL_SWITCHED, _switch_reason(request, first, chosen, cause)))
    if chosen.max_tokens != first.max_tokens:
        actions.append(Action(ActionKind.TOKENS_CAPPED, _cap_reason(first, chosen)))
    if disposition is Disposition.HOLD:
        reason = f"held back until {chosen.model} has room: the work can be deferred"
        actions.append(Action(ActionKind.BATCHING_HINTED, reason))
    if disposition is Disposition.QUEUE:
        reason = (
            f"queued for {chosen.model}: about {chosen.wait_s:.2f} s of work of its priority or above waits"
        )
        actions.append(Action(ActionKind.QUEUED, reason))
    if not actions:
        return (Action(ActionKind.PASSED, _pass_reason(first)),)
    return tuple(actions)


def untouched_actions(model: str, cause: Cause) -> tuple[Action, ...]:
    """Return the action of a request that nobody looked at."""
    why_not = (
        "the controller is in bypass" if cause is Cause.BYPASS else "no model of that name is configured"
    )
    return (Action(ActionKind.PASSED, f"passed to {model}: {why_not}"),)


def _pass_reason(first: Option) -> str:
    outlook = f"predicted first token {first.ttft_s:.2f} s, P(miss) {first.miss:.2f}"
    return f"passed to {first.model} as asked: {outlook}"


def _target(request: Request, line: Option) -> str:
    latency = request.intent.latency
    if latency.ttft_ms is not None and line.ttft_s * 1000 > latency.ttft_ms:
        return (
            f"predicted TTFT {line.ttft_s:.2f} s > {latency.ttft_ms / 1000:.2f} s (P(miss) {line.miss:.2f})"
        )
    return f"P(miss) {line.miss:.2f}, TTFT {line.ttft_s:.2f} s, whole answer {line.e2e_s:.1f} s"


def _detour_reason(request: Request, chosen: Option) -> str:
    failed = " and ".join(request.without)
    return f"switched {request.model} -> {chosen.model}: {failed} gave no answer, and the floor allows it"


def _switch_reason(request: Request, first: Option, chosen: Option, cause: Cause) -> str:
    head = f"switched {first.model} -> {chosen.model}: "
    if cause is Cause.BREAKER:
        return head + f"{first.model} is not reachable and the floor allows {chosen.model}"
    if cause is Cause.COST_PRICE:
        return head + (
            f"the budget is being spent too fast; costs {chosen.cost_uusd} instead of {first.cost_uusd} "
            f"micro-dollars for a quality of {chosen.quality:.2f} instead of {first.quality:.2f}"
        )
    if first.refused_by:
        return head + f"{first.model}: {first.refused_by}; {_target(request, first)}"
    return head + (
        f"{first.model} {_target(request, first)}, its load costs others {first.load_term:.2f}; "
        f"quality {chosen.quality:.2f} instead of {first.quality:.2f} is allowed"
    )


def _cap_reason(first: Option, chosen: Option) -> str:
    saved = first.work_s - chosen.work_s
    return f"capped at {chosen.max_tokens} tokens: saves {saved:.3f} server-seconds where they are scarce"


def _shed_reason(table: list[Option], chosen: Option, cause: Cause) -> str:
    if cause is Cause.HARD_BUDGET:
        return "refused: no permitted rung fits the hard cost limit"
    if cause is Cause.BREAKER:
        return "refused: no permitted model is reachable"
    models = ", ".join(dict.fromkeys(line.model for line in table))
    if cause is Cause.LATENCY_PRICE:
        return (
            f"refused: on every permitted rung ({models}) its work costs others more than it is worth "
            f"(best: gain {chosen.gain:.2f}, load {chosen.load_term:.2f})"
        )
    return f"refused: no permitted rung ({models}) can meet its targets now (best P(miss) {chosen.miss:.2f})"


def why(plan: Plan) -> str:
    """Return one sentence: why this model, this cap, this wait."""
    return "; ".join(action.reason for action in plan.actions) or f"passed to {plan.model} as asked"
