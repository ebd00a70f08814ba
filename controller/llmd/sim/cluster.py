"""Whole pools under one clock: endpoint picker before replicas, several models. Pure: time is an argument.

This is the door for discrete-event runs, and what the server drives with the real clock:

    cluster = Cluster(preset("llmd-demo"))          # requests and events are in `types`
    cluster.submit(SimRequest("r1", "llama-8b", prompt_tokens=512, output_tokens=256), now=0.0)
    while (at := cluster.next_event_time()) < math.inf:
        for event in cluster.advance(at): ...
    cluster.cancel("r1", now)            # frees at once, queued or in flight; no event follows
    cluster.signals("llama-8b")          # what /metrics shows of the pool, as of the last call

Calls must come with times (seconds) that never go back. `advance(until)` returns every event up to and
including `until` in order of time: `Dispatched` or `Dropped` of the picker, then `FirstToken`, `Preempted`,
`Finished` of the engines (and `Tokens` with `per_token=True`). Every request ends in exactly one of
`Finished`, `Dropped` or a `cancel` that returned True. A request with `extra_parts` (several choices) is
one to the picker; its further parts appear in engine events as `<request_id>/1`, `<request_id>/2`, ...
Equal configurations, calls and seeds give equal events in any process: draws depend on ids, not on order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from controller.llmd.sim.compat import CompatEngine
from controller.llmd.sim.config import FAULT_KINDS, EngineConfig, Faults, ModelConfig, RouterConfig, SimConfig
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.engine import Engine
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
    return Engine(config, per_token=per_token)


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
        self.faults = faults

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


def now_or(at: float, pending: Sequence[Event]) -> float:
    """Return the time of the first event not yet fetched, when there is one, else `at`."""
    return min(at, pending[0].at_s) if pending else at


class Cluster:
    """Every pool of a configuration. See the module for its use."""

    def __init__(self, config: SimConfig, *, per_token: bool = False) -> None:
        self.pools = {
            model.name: Pool(model, config.router, config.seed + 1000 * index, per_token=per_token)
            for index, model in enumerate(config.models)
        }
        self._pool_of: dict[str, Pool] = {}
        for model in config.models:
            for name in (model.name, *model.aliases):
                self._pool_of[name] = self.pools[model.name]
        self._homes: dict[str, Pool] = {}
        self._now = -math.inf
        self.set_faults(config.faults, -math.inf)

    def pool(self, model: str) -> Pool:
        """Return the pool of a model name or alias. Raise KeyError when there is none."""
        return self._pool_of[model]

    def submit(self, request: SimRequest, now: float) -> None:
        """Take a request in. Raise KeyError for an unknown model, ValueError for an id in use or too long."""
        if request.request_id in self._homes:
            raise ValueError(f"request id {request.request_id!r} is in use")
        pool = self.pool(request.model)
        longest = pool.tokens_max
        first = Part(request.prompt_tokens, request.output_tokens)
        for part in (first, *request.extra_parts):
            if part.prompt_tokens < 1 or part.prompt_tokens + part.output_tokens > longest:
                raise ValueError(f"request {request.request_id!r} does not fit a replica of {longest} tokens")
        self._now = max(self._now, now)
        self._homes[request.request_id] = pool
        pool.submit(request, now)

    def cancel(self, request_id: str, now: float) -> bool:
        """Free all that the request holds, queued or in flight, at once; False when it has ended."""
        pool = self._homes.pop(request_id, None)
        self._now = max(self._now, now)
        return pool is not None and pool.cancel(request_id, now)

    def set_faults(self, faults: Faults, now: float) -> None:
        """Let these faults hold from now on, for `faults.model` or for all."""
        for pool in self.pools.values() if not faults.model else (self.pool(faults.model),):
            pool.set_faults(faults, now)

    def drain(self, now: float) -> None:
        """Refuse all that waits in the pickers, because they shut down."""
        for pool in self.pools.values():
            pool.drain(now)

    def next_event_time(self) -> float:
        """Return when `advance` may next change or tell something; infinity when all is quiet."""
        return min(pool.next_event_time() for pool in self.pools.values())

    def advance(self, until: float) -> list[Event]:
        """Live up to and including `until`; return what happened, in order of time."""
        events: list[Event] = []
        busy = 0
        self._now = max(self._now, until)
        for pool in self.pools.values():
            if pool.next_event_time() > until:
                continue
            found = pool.advance(until)
            busy += bool(found)
            events += found
        if busy > 1:
            events.sort(key=_time_of)
        for event in events:
            if isinstance(event, Finished | Dropped):
                self._forget(event.request_id)
        return events

    def signals(self, model: str) -> PoolSignals:
        """Return the signals of a model's pool as of the last call that named a time."""
        pool = self.pool(model)
        pool.sync(self._now)
        return pool.signals()

    def _forget(self, request_id: str) -> None:
        for name in (request_id, request_id.rpartition("/")[0]):  # the last part to end may be a further one
            pool = self._homes.get(name)
            if pool is not None and not pool.knows(name):
                del self._homes[name]


def _time_of(event: Event) -> float:
    return event.at_s
