"""One model of a cluster: its endpoint picker, its replicas and its faults. Pure: time is an argument.

`cluster.Cluster` holds one for each model and is the door for runs; it tells what comes out of `advance`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from controller.llmd.sim.compat import CompatEngine
from controller.llmd.sim.config import FAULT_KINDS, Faults, ModelConfig, RouterConfig
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.engine import Engine
from controller.llmd.sim.engine_config import CompatLatency, EngineConfig, KvTransfer
from controller.llmd.sim.router import Ask, Decision, Dispatch, Reject, Router
from controller.llmd.sim.types import (
    Dispatched,
    Dropped,
    EngineEvent,
    EngineRequest,
    Event,
    Finished,
    Part,
    PoolSignals,
    Replica,
    SimRequest,
)

REFUSED: Final = "refused"
"""The outcome of a request that never got a connection; its status is 0."""


def build_replica(config: EngineConfig, *, seed: int, per_token: bool) -> Replica:
    """Return the engine that the configuration asks for: the step model, or the compat formula."""
    if config.latency is not None:
        return CompatEngine(config, seed=seed, per_token=per_token)
    return Engine(config, seed=seed, per_token=per_token)


class Pool:
    """One model: a router and its replicas."""

    def __init__(self, config: ModelConfig, router: RouterConfig, seed: int, *, per_token: bool) -> None:
        self.config = config
        self.replicas: list[Replica] = [
            build_replica(config.engine, seed=seed + index, per_token=per_token)
            for index in range(config.replicas)
        ]
        if not router.enabled:  # a plain load balancer: no intent is read, nobody is refused
            router = replace(router, flow_control=False, objectives={}, latency_slo_admitter=False)
        self.router = Router(router, self.replicas)
        self.faults = Faults()
        engine = config.engine
        self.tokens_max = math.inf if engine.latency else engine.kv_blocks * engine.block_tokens
        self._events: list[Event] = []
        self._requests: dict[str, SimRequest] = {}
        self._placed: dict[str, tuple[int, set[str]]] = {}
        self._seed = seed
        self._asleep = False
        self.loras = {lora.name: lora.path for lora in config.loras}

    def submit(self, request: SimRequest, now: float) -> None:
        """Take a request in; what becomes of it comes out of `advance`."""
        self._live(now)
        if self.faults.refuse:
            self._drop(request, now, 0, None, "the connection is refused (injected)", "fault", REFUSED)
            return
        failure = self._failure(request.request_id)
        if failure is not None:
            self._drop(
                request, now, FAULT_KINDS[failure], None, f"injected failure: {failure}", "fault", failure
            )
            return
        self._requests[request.request_id] = request
        ask = Ask(
            request.request_id, request.intent, request.prompt_tokens, request.body_bytes, request.prefix
        )
        self._carry_out(self.router.submit(ask, now), now)

    def cancel(self, request_id: str, now: float) -> bool:
        """Free all that the request holds; False when it has ended."""
        self._live(now)
        if self._requests.pop(request_id, None) is None:
            return False
        if not self.router.cancel(request_id):
            self._abandon(request_id, now)
        return True

    def set_faults(self, faults: Faults, now: float) -> None:
        """Let these faults hold from now on."""
        self._live(now)
        if faults.slowdown != self.faults.slowdown:
            for replica in self.replicas:
                replica.set_slowdown(faults.slowdown, now)
        up = len(self.replicas) - faults.replicas_down
        for index in range(len(self.replicas)):
            self.router.set_ready(index, ready=index < up)
        self.router.set_blind(now, blind=faults.stale_metrics)
        self.faults = faults

    def set_latency(self, latency: CompatLatency | None, transfer: KvTransfer, now: float) -> None:
        """Let the compat formula, and transfers between replicas, take these times from now on."""
        self._live(now)
        for replica in self.replicas:
            replica.set_latency(latency, transfer, now)

    def sleep(self, now: float, *, asleep: bool) -> None:
        """Discard the prefix caches, or let them fill again."""
        self._live(now)
        self._asleep = asleep
        if asleep:
            for replica in self.replicas:
                replica.drop_cache()

    def drain(self, now: float) -> None:
        """Refuse all that waits in the picker: it shuts down."""
        self._live(now)
        self._carry_out(self.router.drain(now), now)

    def next_event_time(self) -> float:
        """Return when `advance` is next due."""
        at = self.router.next_event_time()
        for replica in self.replicas:
            at = min(at, replica.next_event_time())
        return now_or(at, self._events)

    def advance(self, until: float) -> list[Event]:
        """Live up to and including `until`."""
        self._live(until)
        events, self._events = self._events, []
        return events

    def sync(self, now: float) -> None:
        """Bring the replicas' gauges up to `now`; what happens on the way stays to be fetched."""
        self._live(now)

    def knows(self, request_id: str) -> bool:
        """Tell whether the request is queued or in flight here."""
        return request_id in self._requests

    def signals(self) -> PoolSignals:
        """Return the pool's signals as of the last call that named a time."""
        return PoolSignals(
            replicas=tuple(replica.load() for replica in self.replicas),
            saturation=self.router.saturation(),
            queued=self.router.queued,
            in_flight=len(self._placed),
        )

    def in_flight_tokens(self) -> int:
        """Return the prompt tokens of what is in flight."""
        return sum(self._requests[request_id].prompt_tokens for request_id in self._placed)

    # --- the inside ------------------------------------------------------------------------------

    def _live(self, until: float) -> None:
        while True:
            at = self.router.next_event_time()
            for replica in self.replicas:
                at = min(at, replica.next_event_time())
            if at > until:
                break
            self._step(at)
        for replica in self.replicas:
            self._absorb(replica.advance(until))

    def _step(self, at: float) -> None:
        for replica in self.replicas:
            self._absorb(replica.advance(at))
        if self.router.next_event_time() <= at:
            self._carry_out(self.router.advance(at), at)

    def _absorb(self, events: list[EngineEvent]) -> None:
        for event in events:
            if not isinstance(event, Finished):
                self._events.append(event)
                continue
            root = event.request_id
            if root not in self._placed:
                root = root.rpartition("/")[0]
            if root in self._placed:  # else it was evicted at this very instant, and has its fate
                self._events.append(event)
                self._ended(root, event)

    def _ended(self, request_id: str, event: Finished) -> None:
        _, parts = self._placed[request_id]
        parts.discard(event.request_id)
        if not parts:
            del self._placed[request_id]
            del self._requests[request_id]
            self._carry_out(self.router.done(request_id, event.at_s), event.at_s)

    def _carry_out(self, decisions: list[Decision], now: float) -> None:
        for decision in decisions:
            if isinstance(decision, Dispatch):
                self._start(decision, now)
            elif isinstance(decision, Reject):
                request = self._requests.pop(decision.request_id)
                self._events.append(
                    Dropped(
                        decision.request_id,
                        now,
                        request.model,
                        decision.status,
                        decision.reason,
                        decision.message,
                        "router",
                        decision.outcome,
                        decision.priority,
                        decision.queue_s,
                    )
                )
            else:
                request = self._requests.pop(decision.request_id)
                self._abandon(decision.request_id, now)
                self._drop(request, now, 429, "evicted", "request evicted", "router", "Evicted", evicted=True)

    def _start(self, dispatch: Dispatch, now: float) -> None:
        request = self._requests[dispatch.request_id]
        replica = self.replicas[dispatch.replica]
        priority = -dispatch.priority if self.router.config.propagate_priority else request.priority
        parts: set[str] = set()
        self._placed[request.request_id] = (dispatch.replica, parts)
        hangs = self._draw("hang", request.request_id) < self.faults.hang_rate
        if self._asleep:  # the cache is discarded, and stays off until somebody wakes it
            request = replace(
                request, prefix=(), answer_blocks=(), extra_parts=_uncached(request.extra_parts)
            )
        first = Part(request.prompt_tokens, request.output_tokens, request.prefix, request.answer_blocks)
        for index, sequence in enumerate((first, *request.extra_parts)):
            part = f"{request.request_id}/{index}" if index else request.request_id
            asked = EngineRequest(
                part,
                sequence.prompt_tokens,
                sequence.output_tokens,
                priority,
                sequence.prefix,
                hangs,
                sequence.answer_blocks,
                request.lora,
                request.remote_prefill,
                request.hit_rate_min,
            )
            if not replica.submit(asked, now):
                self._abandon(request.request_id, now)
                del self._requests[request.request_id]
                status = 429 if self.config.engine.latency is not None else 503
                self._drop(request, now, status, None, "the waiting queue is full", "engine", "QueueFull")
                return
            parts.add(part)
        self._events.append(
            Dispatched(
                request.request_id,
                now,
                request.model,
                dispatch.replica,
                dispatch.priority,
                request.intent.fairness_id,
                dispatch.queue_s,
                dispatch.predicted,
            )
        )

    def _abandon(self, request_id: str, now: float) -> None:
        index, parts = self._placed.pop(request_id)
        for part in sorted(parts):
            self.replicas[index].cancel(part, now)
        self._carry_out(self.router.done(request_id, now), now)

    def _drop(
        self,
        request: SimRequest,
        now: float,
        status: int,
        reason: str | None,
        message: str,
        kind: str,
        outcome: str,
        *,
        evicted: bool = False,
    ) -> None:
        priority = self.router.priority_of(request.intent)
        self._events.append(
            Dropped(
                request.request_id,
                now,
                request.model,
                status,
                reason,
                message,
                kind,
                outcome,
                priority,
                0.0,
                evicted,
            )
        )

    def _failure(self, request_id: str) -> str | None:
        left = self._draw("failure", request_id) if self.faults.errors else 1.0
        for kind in sorted(self.faults.errors):
            left -= self.faults.errors[kind]
            if left < 0:
                return kind
        return None

    def _draw(self, purpose: str, request_id: str) -> float:
        return uniform(self._seed, purpose, request_id)


def _uncached(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(replace(part, prefix=(), answer_blocks=()) for part in parts)


def now_or(at: float, pending: Sequence[Event]) -> float:
    """Return the time of the first event not yet fetched, when there is one, else `at`."""
    return min(at, pending[0].at_s) if pending else at
