"""Score one option: what a model under a cap would give this request, and what it would cost the others.

`U = v * q * (1 - P(miss)) - lambda * cost - mu * work` (`reference/control.md` 2.5). Pure arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from controller.estimator import miss_share
from controller.plan.types import IntentState, LiveState, ModelState, Option, Request, Snapshot
from controller.signals import LENGTH_RANKS

TRUNCATION_LOSS: Final = 0.5
"""Quality lost when an answer is cut at our cap: half an answer is worth about half."""
LATE_FACTOR: Final = 1.5
"""An option whose expected first token is this far beyond its target is not worth scoring."""
QUANTILE_P90: Final = 0.9
CAP_RANKS: Final = (0.95, 0.75)
"""Caps to weigh: the tail that costs most, and the last quarter (`reference/control.md`, finding 7)."""
VIEWS_MAX: Final = 4096
"""Views kept: a route's table changes every 25 answers, its ceilings are few."""
CAP_TOKENS_MIN: Final = 16
"""No cap below this: it would cut every sentence."""


@dataclass(frozen=True, slots=True)
class CapView:
    """The output lengths of the route under one cap."""

    max_tokens: int | None
    mean: float
    high: float
    """The 90th percentile, which reservations are made by."""
    truncated: float
    """The share of answers that the cap would cut beyond what the client itself asked for."""


def exceed_share(tokens: float, lengths: tuple[float, ...]) -> float:
    """Return the share of answers longer than `tokens`, by straight lines in the length table."""
    if tokens >= lengths[-1]:
        return 0.0
    if tokens < lengths[0]:
        return 1.0
    index = bisect_left(lengths, tokens)
    if index == 0:
        return 1.0 - LENGTH_RANKS[0]
    low, high = lengths[index - 1], lengths[index]
    share = (tokens - low) / (high - low) if high > low else 1.0
    return 1.0 - (LENGTH_RANKS[index - 1] + share * (LENGTH_RANKS[index] - LENGTH_RANKS[index - 1]))


def length_at(rank: float, lengths: tuple[float, ...]) -> float:
    """Return the length at `rank`."""
    index = bisect_left(LENGTH_RANKS, rank)
    if index == 0:
        return lengths[0]
    low, high = LENGTH_RANKS[index - 1], LENGTH_RANKS[index]
    return lengths[index - 1] + (rank - low) / (high - low) * (lengths[index] - lengths[index - 1])


@lru_cache(maxsize=VIEWS_MAX)
def cap_view(ceiling: int | None, cap: int | None, lengths: tuple[float, ...]) -> CapView:
    """Return how long answers get under the client's `ceiling` and our `cap`."""
    own = math.inf if ceiling is None else float(ceiling)
    bound = own if cap is None else min(own, float(cap))
    mean = 0.0
    for index in range(1, len(lengths)):
        step = LENGTH_RANKS[index] - LENGTH_RANKS[index - 1]
        mean += step * (min(lengths[index], bound) + min(lengths[index - 1], bound)) / 2
    truncated = (
        max(0.0, exceed_share(bound, lengths) - exceed_share(own, lengths)) if cap is not None else 0.0
    )
    high = min(length_at(QUANTILE_P90, lengths), bound)
    return CapView(ceiling if cap is None else cap, mean, high, truncated)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a request would meet on one model, whatever its cap."""

    wait_s: float
    ttft_s: float
    tpot_s: float
    batch: float
    pressed: bool
    """Whether anything else stands in its way there: a price, a queue, a full limit."""


PRICE_FELT: Final = 0.02
"""A load term below 2 % of the request's value is noise: no pressure."""


def outlook(request: Request, state: ModelState, live: LiveState, value: float) -> Outlook:
    """Return what the request would meet on this model now."""
    c = state.coefficients
    own = request.input_tokens - min(request.cached_tokens, request.input_tokens)
    full = live.in_flight >= state.limit
    ahead_s = 0.0
    for priority, work_s in live.ahead:
        if priority < request.intent.priority:
            break
        ahead_s += work_s
    wait_s = 0.0
    work_s = c.work_s(own, 150.0, state.batch_nominal, state.replicas)
    if full or ahead_s > 0.0:
        wait_s = (ahead_s + (work_s if full else 0.0)) / c.capacity
    prefill_s = c.prefill_s(own + live.prefill_tokens / state.replicas)
    batch = min(float(state.limit), live.in_flight + 1.0 + live.queued) / state.replicas
    if state.tpot_s is None:
        tpot_s = c.tpot_s(batch)
    else:
        # measured level, fitted slope: right at once, and right about what one more will do
        rise_s = c.decode_sequence_s * c.tpot_bias * (batch - state.tpot_batch)
        tpot_s = max(state.tpot_s + rise_s, 0.25 * state.tpot_s)
    pressed = full or live.queued > 0 or state.price * work_s > PRICE_FELT * value
    return Outlook(wait_s, wait_s + prefill_s, tpot_s, state.batch_nominal, pressed)


def miss(request: Request, state: ModelState, view: Outlook, cap: CapView, snapshot: Snapshot) -> float:
    """Return the probability that the request misses any of its targets, counted from its arrival."""
    latency = request.intent.latency
    c = state.coefficients
    spent_s = snapshot.now_s - request.arrived_s
    met = 1.0
    if latency.ttft_ms is not None:
        met *= 1.0 - miss_share(latency.ttft_ms / 1000 - spent_s, view.ttft_s, c.ttft_spread)
    if latency.tpot_ms is not None:
        met *= 1.0 - miss_share(latency.tpot_ms / 1000, view.tpot_s, c.tpot_spread)
    if latency.e2e_ms is not None:
        left_s = latency.e2e_ms / 1000 - spent_s - view.ttft_s
        # the spread of the pace widens the answer that fits; half of it, for paces average over an answer
        fits = 1.0 + left_s / (view.tpot_s * (1.0 + c.tpot_spread) / 2.0)
        bound = math.inf if cap.max_tokens is None else cap.max_tokens
        met *= 1.0 if fits >= bound else 1.0 - exceed_share(fits, snapshot.lengths)
    return 1.0 - met


def option(
    request: Request, state: ModelState, view: Outlook, cap: CapView, snapshot: Snapshot, price: IntentState
) -> Option:
    """Return one line of the table."""
    intent = request.intent
    own = request.input_tokens - min(request.cached_tokens, request.input_tokens)
    missed = miss(request, state, view, cap, snapshot)
    quality = state.quality * (1.0 - TRUNCATION_LOSS * cap.truncated)
    cost_uusd = math.ceil(request.input_tokens * state.usd_per_mtok_in + cap.mean * state.usd_per_mtok_out)
    work_s = state.coefficients.work_s(own, cap.mean, view.batch, state.replicas)
    gain = intent.weight * price.burn * quality * (1.0 - missed)
    cost_term = price.cost_price * cost_uusd
    load_term = state.price * work_s
    # by position, in the order of the fields: naming them costs a third of making one
    return Option(
        state.name,
        cap.max_tokens,
        quality,
        missed,
        view.wait_s,
        view.ttft_s,
        view.ttft_s + max(0.0, cap.mean - 1.0) * view.tpot_s,
        cost_uusd,
        work_s,
        gain,
        cost_term,
        load_term,
        gain - cost_term - load_term,
        _refusal(request, state, view, cap, price),
    )


def reserve_uusd(request: Request, state: ModelState, cap: CapView) -> int:
    """Return what a hard budget must hold back for this request: nine in ten cost no more."""
    return math.ceil(request.input_tokens * state.usd_per_mtok_in + cap.high * state.usd_per_mtok_out)


def _refusal(request: Request, state: ModelState, view: Outlook, cap: CapView, price: IntentState) -> str:
    intent = request.intent
    if not state.usable:
        return "its breaker is open"
    if request.input_tokens >= state.context_tokens:
        return "the prompt exceeds its context"
    reserve = reserve_uusd(request, state, cap)
    if intent.usd_per_request_max is not None and reserve > intent.usd_per_request_max * 1e6:
        return "it would cost more than the ceiling per request"
    if price.budget_left_uusd is not None and reserve > price.budget_left_uusd:
        return "the hard budget does not hold it"
    ttft_ms = intent.latency.ttft_ms
    if ttft_ms is not None and view.pressed and view.ttft_s > LATE_FACTOR * ttft_ms / 1000:
        return "its first token would come too late"
    return ""
