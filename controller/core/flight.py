"""A request that is sent and not ended, and what its intent asks of the way. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from controller.intent import Intent
from controller.plan import Plan, Request


@dataclass(slots=True)
class Flight:
    """A request on its way: sent and not ended."""

    request: Request
    plan: Plan
    model: str
    sent_s: float
    tokens_ahead: float
    """Uncached input tokens of itself and of those before it on its replica, when it was sent."""
    batch_start: float
    cost_uusd: int
    first_s: float | None = None
    late: bool = False
    """Already counted as a miss while still running."""


def reserved_uusd(request: Request, plan: Plan) -> int:
    """Return what is counted as spent until the usage is known: nine in ten cost less under a hard budget."""
    budget = request.intent.budget
    return plan.reserve_uusd if budget is not None and budget.hard else plan.prediction.cost_uusd


def pace_s(intent: Intent, long_answer: float) -> float | None:
    """Return the time per output token that the intent's targets leave for a long answer."""
    latency = intent.latency
    paces: list[float] = []
    if latency.tpot_ms is not None:
        paces.append(latency.tpot_ms / 1000)
    if latency.e2e_ms is not None:
        left_s = (latency.e2e_ms - (latency.ttft_ms or 0.0)) / 1000
        paces.append(left_s / max(long_answer, 1.0))
    return min(paces, default=None)
