"""The llm-d endpoint picker of one pool, simulated: priority, fairness, TTL, saturation, eviction. Pure.

    router = Router(config, replicas)
    for decision in router.submit(ask, now): ...   # Dispatch, Reject or Evict; nothing while it waits
    router.done(request_id, now)                   # after the answer ended or was cancelled
    router.advance(router.next_event_time())       # expiries and scrapes while requests wait

The caller carries decisions out (`cluster.Pool` does); all times are seconds of one clock. With flow
control the excess waits here, by priority band, flow and order, while the pool is saturated:
`mean(max(waiting/5, kv/0.8)) >= 1` over ready replicas, as of the last scrape (`metrics_interval_s` apart)
plus what was sent since and finds no free place; or, as the real detector, without that
(`blind_between_scrapes`), and then a whole backlog leaves at once when a scrape shows room. Without flow
control (llm-d's default) only sheddable requests (priority below 0) are refused. Statuses and reasons are
those of llm-d.md A4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from controller.llmd.sim.config import RouterConfig
from controller.llmd.sim.flow import FlowQueue, Queued
from controller.llmd.sim.intent import LlmdIntent
from controller.llmd.sim.types import EngineLoad, Replica

QUEUE_WEIGHT, KV_WEIGHT, PREFIX_WEIGHT = 2.0, 2.0, 3.0
"""Scorer weights of llm-d's shipped scheduling profile: queue, KV utilisation, prefix cache."""
STALE_S = 0.2
"""Metrics older than this count as saturated."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as the endpoint picker sees it."""

    request_id: str
    intent: LlmdIntent
    prompt_tokens: int
    body_bytes: int = 0
    prefix: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Send it to replica `replica` now. `queue_s` is None when flow control did not handle it.

    `predicted`: the (TTFT, TPOT) in seconds that its predictor expects; None without the latency admitter.
    """

    request_id: str
    replica: int
    priority: int
    queue_s: float | None
    predicted: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse it. `reason` is the dropped-reason header; None when this case sends none."""

    request_id: str
    status: int
    reason: str | None
    message: str
    outcome: str
    priority: int
    queue_s: float


@dataclass(frozen=True, slots=True)
class Evict:
    """Cut a request in flight: GPU time was spent on it."""

    request_id: str
    priority: int


Decision = Dispatch | Reject | Evict


@dataclass(slots=True)
class _InFlight:
    replica: int
    priority: int
    order: int


class Router:
    """One pool's endpoint picker. See the module for its use."""

    def __init__(self, config: RouterConfig, replicas: Sequence[Replica]) -> None:
        self.config = config
        self._replicas = replicas
        self._ready = [True] * len(replicas)
        self._queue = FlowQueue(by_deadline=config.ordering == "slo-deadline")
        self._asks: dict[str, Ask] = {}
        self._in_flight: dict[str, _InFlight] = {}
        self._in_flight_by_replica = [0] * len(replicas)
        self._order = 0
        self._scraped: list[EngineLoad] = [replica.load() for replica in replicas]
        self._scraped_at = -math.inf
        self._sent = [0] * len(replicas)
        self._evict_after = -math.inf
        self._blind_since = math.inf
        self._stale = False

    # --- the outside -----------------------------------------------------------------------------

    def submit(self, ask: Ask, now: float) -> list[Decision]:
        """Take a request; return what follows at once."""
        priority = self.priority_of(ask.intent)
        self._scrape(now)
        if self.config.flow_control:
            return self._enqueue(ask, priority, now)
        if priority < 0 and self.saturation() >= 1:
            message = "system saturated, sheddable request dropped"
            return [Reject(ask.request_id, 429, None, message, "Shed", priority, 0.0)]
        return [self._place(ask, priority, None)]

    def cancel(self, request_id: str) -> bool:
        """Forget a request that waits, because its client went; False when it does not wait."""
        if self._queue.remove(request_id) is None:
            return False
        del self._asks[request_id]
        return True

    def done(self, request_id: str, now: float) -> list[Decision]:
        """Count a request in flight as ended; return what its place now allows."""
        flight = self._in_flight.pop(request_id, None)
        if flight is None:
            return []
        self._in_flight_by_replica[flight.replica] -= 1
        return self._dispatch(now) if self._queue and self.config.saturation == "concurrency" else []

    def advance(self, now: float) -> list[Decision]:
        """Expire what waited too long, scrape when it is time, and dispatch what the pool can take."""
        decisions: list[Decision] = [self._expire(item) for item in self._queue.expired(now)]
        if self._queue:
            self._scrape(now)
            decisions += self._dispatch(now)
        return decisions

    def next_event_time(self) -> float:
        """Return when `advance` is next due; infinity while nothing waits."""
        if not self._queue:
            return math.inf
        return min(self._queue.next_expiry(), self._scraped_at + self.config.metrics_interval_s)

    def set_ready(self, replica: int, *, ready: bool) -> None:
        """Take a replica out of the pool, or put it back."""
        self._ready[replica] = ready

    def set_blind(self, now: float, *, blind: bool) -> None:
        """Let the scrapes fail from now on, or succeed again."""
        self._blind_since = min(self._blind_since, now) if blind else math.inf
        self._stale = self._stale and blind

    def drain(self, now: float) -> list[Decision]:
        """Refuse all that waits: the picker shuts down."""
        decisions: list[Decision] = []
        while self._queue:
            item = self._queue.pop()
            waited = now - item.entered_at_s
            decisions.append(
                self._refuse(item, 503, "rejected-shutting-down", "RejectedShuttingDown", waited)
            )
        return decisions

    def priority_of(self, intent: LlmdIntent) -> int:
        """Return the objective's priority; 0 without one, and silently 0 for an unknown one."""
        return self.config.objectives.get(intent.objective or "", 0)

    def saturation(self) -> float:
        """Return the pool's saturation as of the last scrape; 1 is the set point, no replica is infinity."""
        config = self.config
        ready = [index for index, up in enumerate(self._ready) if up]
        if not ready:
            return math.inf
        if config.saturation == "concurrency":
            flying = sum(self._in_flight_by_replica[index] for index in ready)
            return flying / (config.concurrency_threshold * len(ready))
        if self._stale:
            return 1.0
        return sum(
            max(
                self._waiting(index) / config.queue_depth_threshold,
                self._scraped[index].kv_usage / config.kv_threshold,
            )
            for index in ready
        ) / len(ready)

    def queue_sizes(self) -> dict[tuple[int, str], int]:
        """Return how many requests wait by (priority, fairness id)."""
        return self._queue.sizes()

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def ready_endpoints(self) -> int:
        """How many replicas can be picked."""
        return sum(self._ready)

    @property
    def stale_endpoints(self) -> int:
        """How many replicas that can be picked have metrics too old to be trusted."""
        return sum(self._ready) if self._stale else 0

    @property
    def in_flight(self) -> Sequence[int]:
        """How many requests are in flight on each replica."""
        return self._in_flight_by_replica

    # --- the inside ------------------------------------------------------------------------------

    def _enqueue(self, ask: Ask, priority: int, now: float) -> list[Decision]:
        config, intent = self.config, ask.intent
        item = Queued(
            request_id=ask.request_id,
            priority=priority,
            fairness_id=intent.fairness_id,
            body_bytes=ask.body_bytes,
            entered_at_s=now,
            expires_at_s=now + self._ttl_s(intent),
            deadline_s=math.inf if intent.ttft_ms is None else now + intent.ttft_ms / 1000,
            order=self._order,
        )
        self._order += 1
        empty = not any(self._ready)
        if empty and not config.no_endpoint_ttl_s:
            return [self._reject(item, 503, "rejected-no-endpoints", "RejectedNoEndpoints", now)]
        if (
            len(self._queue) >= config.queue_requests_max
            or self._queue.bytes + ask.body_bytes > config.queue_bytes_max
            or self._queue.band_size(priority) >= config.band_requests_max
        ):
            return [self._reject(item, 429, "rejected-saturated", "RejectedCapacity", now)]
        self._queue.push(item)
        self._asks[ask.request_id] = ask
        return self._dispatch(now)

    def _ttl_s(self, intent: LlmdIntent) -> float:
        """The operator's bound, which the header can only shorten; for an empty pool its own, untouched."""
        if not any(self._ready):
            return self.config.no_endpoint_ttl_s
        return min(self.config.ttl_s, intent.ttl_s if intent.ttl_s is not None else math.inf)

    def _dispatch(self, now: float) -> list[Decision]:
        decisions: list[Decision] = []
        while self._queue:
            if self.saturation() >= 1:
                decisions += self._evictions(now)
                break
            item = self._queue.pop()
            ask = self._asks.pop(item.request_id)
            decisions.append(self._place(ask, item.priority, now - item.entered_at_s))
        return decisions

    def _evictions(self, now: float) -> list[Decision]:
        """Give up sheddable work in flight for a request that must not wait behind it."""
        config = self.config
        if not config.eviction or now < self._evict_after or self._queue.top_priority() < 0:
            return []
        sheddable = [
            (f.priority, -f.order, request_id) for request_id, f in self._in_flight.items() if f.priority < 0
        ]
        victims = sorted(sheddable)[: config.evictions_per_decision]
        if victims:
            self._evict_after = now + config.eviction_grace_s
        return [Evict(request_id, priority) for priority, _, request_id in victims]

    def _place(self, ask: Ask, priority: int, queue_s: float | None) -> Decision:
        """Pick a replica. Without one the scheduler's own refusal carries no reason header."""
        ready = [index for index, up in enumerate(self._ready) if up]
        if not ready:
            message = "failed to find candidate endpoints for serving the request"
            return Reject(ask.request_id, 429, None, message, "NoCandidates", priority, queue_s or 0.0)
        if priority < 0 and self.config.latency_slo_admitter and not self._admitted(ask, ready):
            message = "request cannot be admitted: no endpoint is predicted to meet its latency objective"
            return Reject(ask.request_id, 500, None, message, "NotAdmitted", priority, queue_s or 0.0)
        replica = self._pick(ask, ready)
        self._in_flight[ask.request_id] = _InFlight(replica, priority, self._order)
        self._order += 1
        self._in_flight_by_replica[replica] += 1
        self._sent[replica] += 1
        predicts = self.config.latency_slo_admitter
        predicted = self._replicas[replica].predict(ask.prompt_tokens) if predicts else None
        return Dispatch(ask.request_id, replica, priority, queue_s, predicted)

    def _pick(self, ask: Ask, ready: list[int]) -> int:
        """Score as llm-d's default profile; among near equals the fewest requests in flight win."""
        if len(ready) == 1:
            return ready[0]
        waits = [self._waiting(index) for index in ready]
        low, spread = min(waits), max(waits) - min(waits)
        best, best_rank = ready[0], (-math.inf, 0)
        for index in ready:
            queue = 1.0 - (self._waiting(index) - low) / spread if spread else 1.0
            prefix = self._replicas[index].cached_blocks(ask.prefix) / len(ask.prefix) if ask.prefix else 0.0
            score = (
                QUEUE_WEIGHT * queue
                + KV_WEIGHT * (1.0 - self._scraped[index].kv_usage)
                + PREFIX_WEIGHT * prefix
            )
            rank = (round(score, 2), -self._in_flight_by_replica[index])
            if rank > best_rank:
                best, best_rank = index, rank
        return best

    def _admitted(self, ask: Ask, ready: list[int]) -> bool:
        """The latency-slo-admitter: some replica is predicted to keep the request's own objectives."""
        intent = ask.intent
        for index in ready:
            ttft_s, tpot_s = self._replicas[index].predict(ask.prompt_tokens)
            in_time = intent.ttft_ms is None or ttft_s * 1000 <= intent.ttft_ms
            if in_time and (intent.tpot_ms is None or tpot_s * 1000 <= intent.tpot_ms):
                return True
        return False

    def _expire(self, item: Queued) -> Reject:
        queue_s = item.expires_at_s - item.entered_at_s
        if not any(self._ready):
            return self._refuse(item, 503, "rejected-no-endpoints", "EvictedNoEndpoints", queue_s)
        status = 503 if self.config.version == "gaie" else 429
        return self._refuse(item, status, "rejected-ttl-expired", "EvictedTTL", queue_s)

    def _refuse(self, item: Queued, status: int, reason: str, outcome: str, queue_s: float) -> Reject:
        del self._asks[item.request_id]
        return self._reject(item, status, reason, outcome, item.entered_at_s + queue_s)

    def _reject(self, item: Queued, status: int, reason: str, outcome: str, now: float) -> Reject:
        message = f"request dropped by flow control: {reason}"
        queue_s = now - item.entered_at_s
        return Reject(item.request_id, status, reason, message, outcome, item.priority, queue_s)

    def _scrape(self, now: float) -> None:
        if now < self._scraped_at + self.config.metrics_interval_s:
            return
        self._scraped_at = now
        if now >= self._blind_since:
            self._stale = now - self._blind_since > STALE_S
        else:
            self._scraped = [replica.load() for replica in self._replicas]
            self._sent = [0] * len(self._replicas)

    def _waiting(self, index: int) -> int:
        """How many wait in a replica: as scraped, and what was sent since beyond its free places."""
        load = self._scraped[index]
        if self.config.blind_between_scrapes:
            return load.waiting
        return load.waiting + max(self._sent[index] - load.free_places, 0)
