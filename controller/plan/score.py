"""Score one option: what a model under a cap would give this request, and what it would cost the others.

`U = v * q * (1 - P(miss)) - lambda * cost - mu * work` (`reference/control.md` 2.5). Pure arithmetic.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

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


class Outlook(NamedTuple):
    """What a request would meet on one model, whatever its cap; made once a model, used for every cap."""

    wait_s: float
    ttft_s: float
    tpot_s: float
    pressed: bool
    """Whether anything else stands in its way there: a price, a queue, a full limit."""
    met_start: float
    """The probability that the first token and the pace meet their targets."""
    fits: float
    """The longest answer, in tokens, that still ends in time."""
    prefill_work_s: float
    token_work_s: float
    """Server-seconds of each output token."""
    refused_by: str
    """Why this model is out for this request, whatever its cap."""


_new_tuple: Final = tuple.__new__
BREAKER_OPEN: Final = "its breaker is open"
CONTEXT_EXCEEDED: Final = "the prompt exceeds its context"
TOO_LATE: Final = "its first token would come too late"
_RANKS: Final = {"": 0, TOO_LATE: 1, BREAKER_OPEN: 2, CONTEXT_EXCEEDED: 4}
"""Money stands between them: what is too dear stays so until the budget's next period."""
PRICE_FELT: Final = 0.02
"""A load term below 2 % of the request's value is noise: no pressure."""
TYPICAL_OUTPUT_TOKENS: Final = 150.0
"""For the work of a request before its cap is known; only the edge of `pressed` depends on it."""


def outlook(request: Request, state: ModelState, live: LiveState, value: float, now_s: float) -> Outlook:
    """Return what the request would meet on this model now."""
    c, replicas = state.coefficients, state.replicas
    own = max(0, request.input_tokens - request.cached_tokens)
    full = live.in_flight >= state.limit
    # as `Coefficients.work_s` has it, of a prompt alone and of one output token alone
    prefill_work_s = c.prefill_token_s * own / replicas
    token_work_s = (c.decode_base_s / max(1.0, state.batch_nominal) + c.decode_sequence_s) / replicas
    work_s = prefill_work_s + TYPICAL_OUTPUT_TOKENS * token_work_s
    wait_s = _wait_s(request.intent.priority, live, work_s if full else 0.0, c.capacity)
    ttft_s = wait_s + c.prefill_s(own + live.prefill_tokens / replicas)
    tpot_s = _tpot_s(state, live, request.choices)
    pressed = full or live.queued > 0 or state.price * work_s > PRICE_FELT * value
    met, fits = _met(request, state, ttft_s, tpot_s, now_s)
    refused = _refused_model(request, state, ttft_s if pressed else 0.0)
    return _new_tuple(
        Outlook, (wait_s, ttft_s, tpot_s, pressed, met, fits, prefill_work_s, token_work_s, refused)
    )


def _wait_s(priority: int, live: LiveState, slot_s: float, capacity: float) -> float:
    """Return the wait in our queue: the work of its priority and above, and for a slot if none is free."""
    ahead_s = 0.0
    for level, level_s in live.ahead:
        if level < priority:
            break
        ahead_s += level_s
    return (ahead_s + slot_s) / capacity


def _tpot_s(state: ModelState, live: LiveState, choices: int) -> float:
    c = state.coefficients
    batch = min(float(state.limit), live.in_flight + float(choices) + live.queued) / state.replicas
    if state.tpot_s is None:
        return c.tpot_s(batch)
    # measured level, fitted slope: right at once, and right about what one more will do
    rise_s = c.decode_sequence_s * c.tpot_bias * (batch - state.tpot_batch)
    return max(state.tpot_s + rise_s, 0.25 * state.tpot_s)


def _met(
    request: Request, state: ModelState, ttft_s: float, tpot_s: float, now_s: float
) -> tuple[float, float]:
    """Return (probability that start and pace are met, tokens that fit); times count from the arrival."""
    latency, c = request.intent.latency, state.coefficients
    spent_s = now_s - request.arrived_s
    met, fits = 1.0, math.inf
    if latency.ttft_ms is not None:
        met = 1.0 - miss_share(latency.ttft_ms / 1000 - spent_s, ttft_s, c.ttft_spread)
    if latency.tpot_ms is not None:
        met *= 1.0 - miss_share(latency.tpot_ms / 1000, tpot_s, c.tpot_spread)
    if latency.e2e_ms is not None:
        # the spread of the pace widens the answer that fits; half of it, for paces average over an answer
        pace_s = tpot_s * (1.0 + c.tpot_spread) / 2.0
        fits = 1.0 + (latency.e2e_ms / 1000 - spent_s - ttft_s) / pace_s
    return met, fits


def _refused_model(request: Request, state: ModelState, ttft_s: float) -> str:
    if not state.usable:
        return BREAKER_OPEN
    if request.input_tokens >= state.context_tokens:
        return CONTEXT_EXCEEDED
    ttft_ms = request.intent.latency.ttft_ms
    if ttft_ms is not None and ttft_s > LATE_FACTOR * ttft_ms / 1000:
        return TOO_LATE
    return ""


def refusal_rank(refused_by: str) -> int:
    """Return how far a refusal is from being lifted: waiting helps before an open breaker does."""
    return _RANKS.get(refused_by, 3)


def options(
    request: Request,
    state: ModelState,
    view: Outlook,
    caps: Sequence[CapView],
    snapshot: Snapshot,
    price: IntentState,
) -> list[Option]:
    """Return the lines of the table for one model, one per cap."""
    lengths, value = snapshot.lengths, request.intent.weight * price.burn
    wait_s, ttft_s, tpot_s, _, met_start, fits, prefill_work_s, token_work_s, refused = view
    input_cost = request.input_tokens * state.usd_per_mtok_in
    choices = request.choices
    bounded = request.intent.usd_per_request_max is not None or snapshot.budget_left_uusd is not None
    lines: list[Option] = []
    for cap in caps:
        met, mean = met_start, cap.mean
        if fits < (math.inf if cap.max_tokens is None else cap.max_tokens):
            met *= 1.0 - exceed_share(fits, lengths)
        quality = state.quality * (1.0 - TRUNCATION_LOSS * cap.truncated)
        cost_uusd = math.ceil(input_cost + choices * mean * state.usd_per_mtok_out)
        work_s = prefill_work_s + token_work_s * choices * mean
        gain = value * quality * met
        cost_term = price.cost_price * cost_uusd
        load_term = state.price * work_s
        too_dear = _too_dear(request, state, cap, snapshot.budget_left_uusd) if bounded else ""
        # by position, in the order of the fields, and past the constructor: a third of its time
        line = (
            state.name,
            cap.max_tokens,
            quality,
            1.0 - met,
            wait_s,
            ttft_s,
            ttft_s + max(0.0, mean - 1.0) * tpot_s,
            cost_uusd,
            work_s,
            gain,
            cost_term,
            load_term,
            gain - cost_term - load_term,
            too_dear or refused,
        )
        lines.append(_new_tuple(Option, line))
    return lines


def reserve_uusd(request: Request, state: ModelState, cap: CapView) -> int:
    """Return what a hard budget must hold back for this request: nine in ten cost no more."""
    output_tokens = request.choices * cap.high
    return math.ceil(request.input_tokens * state.usd_per_mtok_in + output_tokens * state.usd_per_mtok_out)


def _too_dear(request: Request, state: ModelState, cap: CapView, budget_left_uusd: int | None) -> str:
    ceiling = request.intent.usd_per_request_max
    reserve = reserve_uusd(request, state, cap)
    if ceiling is not None and reserve > ceiling * 1e6:
        return "it would cost more than the ceiling per request"
    if budget_left_uusd is not None and reserve > budget_left_uusd:
        return "the hard budget does not hold it"
    return ""
