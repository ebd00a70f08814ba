"""Settle a request: which targets were missed, and how the outcome compares with the prediction. Pure."""

from __future__ import annotations

from controller.catalogue import Model
from controller.core.deployment import Flight
from controller.core.events import Outcome
from controller.intent import Intent
from controller.plan import Plan
from controller.verify import Settlement


def missed_targets(
    intent: Intent, ttft_s: float | None, e2e_s: float | None, output_tokens: int
) -> tuple[str, ...]:
    """Return the targets that an answered request missed; times count from its arrival."""
    latency = intent.latency
    missed: list[str] = []
    if latency.ttft_ms is not None and (ttft_s is None or ttft_s * 1000 > latency.ttft_ms):
        missed.append("ttft")
    if latency.e2e_ms is not None and (e2e_s is None or e2e_s * 1000 > latency.e2e_ms):
        missed.append("e2e")
    if latency.tpot_ms is not None and ttft_s is not None and e2e_s is not None and output_tokens > 1:
        pace_s = (e2e_s - ttft_s) / (output_tokens - 1)
        if pace_s * 1000 > latency.tpot_ms:
            missed.append("tpot")
    return tuple(missed)


def settle(flight: Flight, outcome: Outcome, cost_uusd: int, now_s: float) -> Settlement:
    """Return prediction against observation of a request that was sent."""
    request, plan = flight.request, flight.plan
    ttft_s = None if flight.first_s is None else flight.first_s - request.arrived_s
    e2e_s = now_s - request.arrived_s
    missed: tuple[str, ...] = (outcome.status,)
    if outcome.status == "complete":
        missed = missed_targets(request.intent, ttft_s, e2e_s, outcome.output_tokens // request.choices)
    prediction = plan.prediction
    complete = outcome.status == "complete"
    return Settlement(
        request_id=request.request_id,
        intent=request.intent.name,
        model=flight.model,
        status=outcome.status,
        met=not missed,
        missed=missed,
        queue_wait_s=flight.sent_s - request.arrived_s,
        ttft_s=ttft_s,
        e2e_s=e2e_s,
        output_tokens=outcome.output_tokens,
        cost_uusd=cost_uusd,
        ttft_ratio=_ratio(ttft_s, prediction.ttft_s),
        e2e_ratio=_ratio(e2e_s, prediction.e2e_s) if complete else None,
        cost_ratio=_ratio(float(cost_uusd), float(prediction.cost_uusd)) if complete else None,
    )


def cost_of(flight: Flight, outcome: Outcome, model: Model) -> int:
    """Return what the request cost, by its usage where that is known."""
    tokens = flight.request.input_tokens if outcome.input_tokens is None else outcome.input_tokens
    return model.cost_uusd(tokens, outcome.output_tokens)


def cut_by_us(flight: Flight, outcome: Outcome) -> bool:
    """Tell whether the answer's length says nothing about how long it would have been."""
    cap = flight.plan.max_tokens
    return outcome.truncated or (cap is not None and outcome.output_tokens >= cap * flight.request.choices)


def settle_unsent(request_id: str, plan: Plan, status: str, waited_s: float) -> Settlement:
    """Return the settlement of a request that was never sent: shed, expired or gone."""
    return Settlement(
        request_id,
        plan.intent,
        plan.model,
        status,
        False,
        (status,),
        waited_s,
        None,
        None,
        0,
        0,
        None,
        None,
        None,
    )


def _ratio(observed: float | None, predicted: float) -> float | None:
    return None if observed is None or predicted <= 0.0 or observed <= 0.0 else observed / predicted
