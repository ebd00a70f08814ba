"""One model under control: its queue, counters, estimator, price, limit and breaker, kept in step. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from controller.catalogue import Model
from controller.core.config import Tuning
from controller.core.events import Change
from controller.core.steps import ModelStep, Relief, batch_nominal
from controller.estimator import Coefficients, Estimator
from controller.guard import HANG_S, Breaker
from controller.intent import Bias, Intent
from controller.plan import LiveState, ModelState, Plan, Request
from controller.prices import CongestionPrice, InFlightLimit, LimitStep, Load, PriceStep
from controller.queue import ModelQueue, Waiting
from controller.signals import READING_AGE_MAX_S, Ewma, Rate
from controller.verify import PredictionCheck

BURST_TAU_S: Final = 1.2
ARRIVAL_TAU_S: Final = 5.0
DEMAND_TAU_S: Final = 5.0
TPOT_TAU_S: Final = 3.0
FRESH_TAU_S: Final = 8.0
"""How quickly an answer's own duration discounts its pace as news of the present."""
TPOT_TOKENS_MIN: Final = 60.0
"""A pace is known from so many recent tokens; answers of two tokens say more about prefills than pace."""
PACE_MEMORY_S: Final = 30.0
"""An intent that has sent nothing here for so long no longer sets the pace."""
LEARNED_MIN: Final = 100
"""Paces seen before the learned line may bound unused headroom: half the estimator's memory."""


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


class Deployment:
    """The mutable state of one model."""

    __slots__ = (
        "_arrivals",
        "_best_in_flight",
        "_bursts",
        "_demand",
        "_last_life_s",
        "_limit_step",
        "_paced_at_s",
        "_paced_s",
        "_paced_tokens",
        "_paces",
        "_price_step",
        "_relief",
        "_relieved_s",
        "_tuning",
        "_value_mean",
        "_work_mean",
        "admitted_priority",
        "breaker",
        "check",
        "coefficients",
        "decoding",
        "estimator",
        "in_flight",
        "limit",
        "model",
        "prefill_tokens",
        "price",
        "queue",
        "queue_since_s",
        "shed_priority",
        "tpot_batch",
    )  # fmt: skip

    def __init__(self, model: Model, tuning: Tuning) -> None:
        self.model = model
        self._tuning = tuning
        self.estimator = Estimator(model)
        self.coefficients: Coefficients = self.estimator.coefficients()
        self.price = CongestionPrice(tuning.gain_up, tuning.recovery)
        self.limit = InFlightLimit(model.in_flight_max)
        self.queue = ModelQueue()
        self.check = PredictionCheck()
        self.breaker = Breaker(model.name)
        self.in_flight = self.decoding = self.prefill_tokens = 0
        self._paced_s, self._paced_tokens = Rate(TPOT_TAU_S), Rate(TPOT_TAU_S)
        self._paced_at_s = -math.inf
        self.tpot_batch = Ewma(TPOT_TAU_S)
        self._arrivals, self._demand = Rate(ARRIVAL_TAU_S), Rate(DEMAND_TAU_S)
        self._bursts = Rate(BURST_TAU_S)
        self._value_mean, self._work_mean = Ewma(30.0), Ewma(30.0)
        self._paces: dict[str, tuple[float, float]] = {}
        self._last_life_s = -math.inf
        self._best_in_flight = 0.0
        self.queue_since_s: float | None = None
        self._relieved_s = -math.inf
        self.shed_priority: int | None = None
        self.admitted_priority: int | None = None
        self._price_step: PriceStep | None = None
        self._limit_step: LimitStep | None = None
        self._relief: Relief | None = None

    # --- what happens to requests ----------------------------------------------------------------

    def prefers(self, work_s: float, now_s: float) -> None:
        """Count work whose first choice is this model, wherever it is served."""
        self._demand.add(work_s, now_s)

    def assigned(self, plan: Plan, value: float, pace_s: float | None, now_s: float) -> None:
        """Count a request that was planned to be served here."""
        self._arrivals.add(plan.work_s, now_s)
        self._bursts.add(plan.work_s, now_s)
        self._value_mean.add(value, now_s)
        self._work_mean.add(plan.work_s, now_s)
        if pace_s is not None:
            self._paces[plan.intent] = (pace_s, now_s)
        if self.admitted_priority is None or plan.priority < self.admitted_priority:
            self.admitted_priority = plan.priority

    def sent(self, request: Request, plan: Plan, now_s: float) -> Flight:
        """Count a request that leaves for the backend now."""
        own = request.input_tokens - min(request.cached_tokens, request.input_tokens)
        if self.in_flight == self.decoding:
            self._last_life_s = now_s
        self.in_flight += request.choices
        if request.streamed:
            self.prefill_tokens += own
        else:
            # nothing will be seen of it before its end: silence is no sign of a hang
            self.decoding += request.choices
        self.breaker.sent(now_s)
        ahead = own + max(self.prefill_tokens - own, 0) / self.model.replicas
        batch = self.in_flight / self.model.replicas
        return Flight(request, plan, self.model.name, now_s, ahead, batch, reserved_uusd(request, plan))

    def first_token(self, flight: Flight, now_s: float) -> None:
        """Learn from a first token."""
        flight.first_s = now_s
        self._last_life_s = now_s
        self._leave_prefill(flight)
        self.decoding += flight.request.choices
        self.estimator.first_token(flight.tokens_ahead, now_s - flight.sent_s)
        own = flight.request.input_tokens - min(flight.request.cached_tokens, flight.request.input_tokens)
        self.estimator.served(self.coefficients.prefill_token_s * own / self.model.replicas, now_s)

    def ended(self, flight: Flight, output_tokens: float, *, failed: bool, now_s: float) -> None:
        """Take a request out of flight, and learn its pace if it completed; the tokens are of one choice."""
        choices = flight.request.choices
        self._last_life_s = now_s
        self.in_flight -= choices
        self.breaker.result(failed=failed, now_s=now_s)
        if flight.first_s is None:
            if flight.request.streamed:
                self._leave_prefill(flight)
            else:
                self.decoding -= choices
            return
        self.decoding -= choices
        if not failed and output_tokens > 1 and now_s > flight.first_s:
            pace_s = (now_s - flight.first_s) / (output_tokens - 1)
            batch = (flight.batch_start + (self.in_flight + choices) / self.model.replicas) / 2
            self.estimator.decode(batch, pace_s)
            # an answer's pace is an average over its life: a long one tells of a time that has passed
            decode_s = now_s - flight.first_s
            fresh = math.exp(-decode_s / FRESH_TAU_S)
            self._paced_s.add(fresh * decode_s, now_s)
            self._paced_tokens.add(fresh * (output_tokens - 1), now_s)
            self._paced_at_s = now_s
            self.tpot_batch.add(batch, now_s)

    def _leave_prefill(self, flight: Flight) -> None:
        self.prefill_tokens -= flight.request.input_tokens - min(
            flight.request.cached_tokens, flight.request.input_tokens
        )

    # --- the tick --------------------------------------------------------------------------------

    def tick(self, dt_s: float, now_s: float, bias: Bias, *, price_frozen: bool) -> tuple[Change, ...]:
        """Move limit, capacity and price by one tick."""
        was_limit, was_price = self.limit.value, self.price.value
        self._price_step = self._limit_step = self._relief = None
        pace_s, target_s = self.tpot_s(now_s), self.tpot_target_s(now_s)
        if self._tuning.learned_limit:
            expected = self._expected_limit(target_s)
            self._limit_step = self.limit.tick(self.in_flight, pace_s, target_s, expected)
        else:
            self.limit.restore(self._planned_limit(target_s))
        self._count_decoding(pace_s, self.batch_nominal(target_s), dt_s, now_s)
        full = self.in_flight >= 0.95 * self.limit.value
        self.estimator.tick(saturated=full or len(self.queue) > 0, now_s=now_s)
        self.coefficients = self.estimator.coefficients()
        if self._tuning.price:
            self._price_step = self.price.tick(self.load(now_s), dt_s, bias, frozen=price_frozen)
        self.queue_since_s = (self.queue_since_s or now_s) if len(self.queue) else None
        self._best_in_flight = max(self._best_in_flight * 0.995, float(self.in_flight))
        if self.signal_age_s(now_s) > HANG_S:
            self.breaker.hung(now_s)
        self.shed_priority = self.admitted_priority = None
        return self._changes(was_limit, was_price, pace_s, target_s)

    def _changes(
        self, was_limit: int, was_price: float, pace_s: float | None, target_s: float | None
    ) -> tuple[Change, ...]:
        changes: list[Change] = []
        if self.limit.value != was_limit:
            measured_ms, declared_ms = 1000 * (pace_s or 0.0), 1000 * (target_s or 0.0)
            reason = f"{measured_ms:.0f} ms per token where {declared_ms:.0f} ms are declared"
            changes.append(Change(self.model.name, "limit", was_limit, self.limit.value, reason))
        if self.price.value != was_price:
            reason = f"load is {self.price.error:+.2f} from its set point"
            changes.append(Change(self.model.name, "price", was_price, self.price.value, reason))
        return tuple(changes)

    def load(self, now_s: float) -> Load:
        """Return the load that the price sees."""
        forward = self._tuning.feed_forward
        return Load(
            arrival_rate=self._arrivals.value(now_s) if forward else 0.0,
            burst_rate=self._bursts.value(now_s) if forward else 0.0,
            queued_work_s=self.queue.work_s,
            capacity=self.coefficients.capacity,
            value_mean=self._value_mean.value if self._value_mean.count else 1.0,
            work_mean_s=self._work_mean.value if self._work_mean.count else 1.0,
        )

    def demand(self, now_s: float) -> float:
        """Return the load this model would have if every request got its first choice."""
        return self._demand.value(now_s) / max(self.coefficients.capacity, 1e-6)

    def tpot_s(self, now_s: float) -> float | None:
        """Return the measured time per output token, None where it is unknown."""
        if now_s - self._paced_at_s > READING_AGE_MAX_S:
            return None
        tokens = self._paced_tokens.value(now_s)
        return self._paced_s.value(now_s) / tokens if tokens * TPOT_TAU_S >= TPOT_TOKENS_MIN else None

    def tpot_target_s(self, now_s: float) -> float | None:
        """Return the strictest pace that the intents served here declare, None without any."""
        for name in [name for name, (_, at_s) in self._paces.items() if now_s - at_s > PACE_MEMORY_S]:
            del self._paces[name]
        return min((pace_s for pace_s, _ in self._paces.values()), default=None)

    def batch_nominal(self, target_s: float | None) -> float:
        """Return the batch per replica at which work is counted."""
        return batch_nominal(
            self.coefficients, self.limit.value, self.limit.ceiling, self.model.replicas, target_s
        )

    def _expected_limit(self, target_s: float | None) -> float | None:
        c = self.coefficients
        if target_s is None or self.estimator.paces < LEARNED_MIN or c.decode_sequence_s <= 0.0:
            return None
        batch = (target_s / c.tpot_bias - c.decode_base_s) / c.decode_sequence_s
        return self.model.replicas * batch if batch > 0.0 else None

    def late_items(self, now_s: float) -> tuple[Waiting, ...]:
        """Return the queued requests that would come too late at the pace at which the queue moves."""
        capacity = max(self.coefficients.capacity, 1e-6)
        ahead_s, late = 0.0, []
        for item in sorted(self.queue, key=lambda item: (-item.priority, item.deadline_s)):
            ahead_s += item.work_s
            if not item.held and now_s + ahead_s / capacity > item.deadline_s:
                late.append(item)
        return tuple(late)

    def relieve(self, now_s: float, patience_s: float) -> bool:
        """Open the limit where our own queue stands before an idle backend; True when that did not cure it.

        The likely culprit is a limit that shrank too far, so that is mended first; only a queue that comes
        back within half a minute says that more is wrong.
        """
        if self.queue_since_s is None:
            return False
        self._relief = Relief(
            queued_for_s=now_s - self.queue_since_s,
            patience_s=patience_s,
            waiting=any(not item.held for item in self.queue),
            usable=self.breaker.usable(now_s),
            tpot_s=self.tpot_s(now_s),
            tpot_target_s=self.tpot_target_s(now_s),
            in_flight=self.in_flight,
            best_in_flight=self._best_in_flight,
            since_relief_s=now_s - self._relieved_s if math.isfinite(self._relieved_s) else None,
        )
        if not self._relief.due:
            return False
        self._relieved_s = self.queue_since_s = now_s
        self.limit.restore(self._relief.opens_to)
        return self._relief.again

    def step(self) -> ModelStep:
        """Return what the last tick moved price and limit by."""
        return ModelStep(self.model.name, self._price_step, self._limit_step, self._relief)

    def signal_age_s(self, now_s: float) -> float:
        """Return how long nothing has come back although first tokens are awaited; 0 without any.

        Requests that only decode are silent for as long as their answers are.
        """
        return now_s - self._last_life_s if self.in_flight > self.decoding else 0.0

    def calm(self) -> None:
        """Forget prices and prediction errors: after a change of mode the past proves nothing."""
        self.price.reset()
        self.check = PredictionCheck()

    def state(self, now_s: float) -> ModelState:
        """Return the slow part of a snapshot."""
        pace_s = self.tpot_s(now_s)
        return ModelState(
            name=self.model.name,
            backend=self.model.backend,
            quality=self.model.quality,
            usd_per_mtok_in=self.model.usd_per_mtok_in,
            usd_per_mtok_out=self.model.usd_per_mtok_out,
            context_tokens=self.model.context_tokens,
            replicas=self.model.replicas,
            coefficients=self.coefficients,
            price=self.price.value,
            limit=self.limit.value,
            batch_nominal=self.batch_nominal(self.tpot_target_s(now_s)),
            load_error=self.price.error,
            tpot_s=pace_s,
            tpot_batch=0.0 if pace_s is None else self.tpot_batch.value,
            usable=self.breaker.usable(now_s),
            failure_share=self.breaker.failure_share,
        )

    def live(self) -> LiveState:
        """Return the exact counters of this instant."""
        return LiveState(
            self.in_flight,
            self.prefill_tokens,
            len(self.queue),
            self.queue.ahead(),
            self.shed_priority,
            self.admitted_priority,
        )

    def _count_decoding(self, pace_s: float | None, batch: float, dt_s: float, now_s: float) -> None:
        # tokens that are being made now, and not only those of answers that have ended: no lag
        step_s = pace_s or self.coefficients.tpot_s(self.decoding / self.model.replicas)
        share = self.coefficients.decode_base_s / batch + self.coefficients.decode_sequence_s
        if self.decoding and step_s > 0.0:
            tokens = self.decoding * dt_s / step_s
            self.estimator.served(tokens * share / self.model.replicas, now_s)

    def _planned_limit(self, target_s: float | None) -> int:
        speed = self.model.speed
        if target_s is None or speed.decode_sequence_s <= 0.0:
            return self.model.in_flight_max
        return int(self.model.replicas * (target_s - speed.decode_base_s) / speed.decode_sequence_s)


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
