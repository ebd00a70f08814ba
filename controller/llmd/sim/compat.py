"""A replica with the latency formula of llm-d-inference-sim, for comparison runs against the Go simulator.

`latencies.go` of v0.10.2: with `f = 1 + (F - 1) * (running - 1) / (max_num_seqs - 1)`, F the factor under
load, `TTFT = ttft * f` (constant) or `(overhead + uncached prompt * per token) * f` (per-token), and
`ITL = itl * f` drawn anew for every token; Gaussian, clamped to 70 % around the mean. A pool of
`max_num_seqs` workers takes requests first come first served. No KV limit, no preemption, no interference
of prompts with decodes: that is what it models, and why a controller must not be tuned on it. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from controller.llmd.sim.config import CompatLatency, EngineConfig
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.types import EngineEvent, EngineLoad, EngineRequest, Finished, FirstToken, Tokens

CLAMP = 0.7
"""Draws stay within this share of the mean, on both sides."""


def load_factor(factor_under_load: float, running: int, seqs_max: int) -> float:
    """Return the multiplier on all latencies with `running` requests at work."""
    if seqs_max <= 1:
        return 1.0
    return 1.0 + (factor_under_load - 1.0) * (running - 1) / (seqs_max - 1)


def ttft_mean_ms(latency: CompatLatency, prompt_tokens: int, cached_tokens: int = 0) -> float:
    """Return the mean time to first token without load."""
    if latency.calculator == "per-token":
        return latency.prefill_overhead_ms + (prompt_tokens - cached_tokens) * latency.prefill_token_ms
    return latency.ttft_ms


@dataclass(slots=True, eq=False)
class _Job:
    request: EngineRequest
    arrived_at_s: float
    started_at_s: float = -1.0
    first_token_at_s: float = -1.0
    last_token_at_s: float = -1.0
    generated: int = 0


class CompatEngine:
    """One replica; the same use as `engine.Engine`."""

    def __init__(self, config: EngineConfig, *, seed: int, per_token: bool = False) -> None:
        if config.latency is None:
            raise ValueError("a compat engine needs config.latency")
        self._config = config
        self._latency = config.latency
        self._seed = seed
        self._per_token = per_token
        self._slowdown = config.slowdown
        self._jobs: dict[str, _Job] = {}
        self._waiting: deque[_Job] = deque()
        self._running: dict[_Job, None] = {}
        self._timers: list[tuple[float, int, _Job]] = []
        self._order = 0
        self._events: list[EngineEvent] = []
        self._tokens = 0

    def submit(self, request: EngineRequest, now: float) -> bool:
        """Take the request in; False when the waiting queue is full."""
        self._run(now)
        if request.request_id in self._jobs:
            raise ValueError(f"request id {request.request_id!r} is in use")
        bound = self._config.waiting_max
        if len(self._running) >= self._config.seqs_max and bound and len(self._waiting) >= bound:
            return False
        job = _Job(request, now)
        self._jobs[request.request_id] = job
        self._waiting.append(job)
        self._fill(now)
        return True

    def cancel(self, request_id: str, now: float) -> bool:
        """Free the worker or the place in the queue; False when the request is not here."""
        self._run(now)
        job = self._jobs.pop(request_id, None)
        if job is None:
            return False
        if job in self._running:
            del self._running[job]
            self._fill(now)
        else:
            self._waiting.remove(job)
        return True

    def set_slowdown(self, factor: float, now: float) -> None:
        """Multiply the latencies drawn from now on."""
        self._run(now)
        self._slowdown = factor * self._config.slowdown

    def next_event_time(self) -> float:
        """Return the time of the next token; infinity when idle."""
        while self._timers and self._timers[0][2] not in self._running:
            heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    def advance(self, until: float) -> list[EngineEvent]:
        """Live up to and including `until`; return what happened, in order of time."""
        self._run(until)
        events, self._events = self._events, []
        return events

    def load(self) -> EngineLoad:
        """Return the gauges; there is no KV cache in this mode."""
        free = max(self._config.seqs_max - len(self._jobs), 0)
        return EngineLoad(
            len(self._running), len(self._waiting), len(self._jobs), 0.0, 0, 0, 0, self._tokens, free
        )

    def cached_blocks(self, _prefix: Sequence[int]) -> int:
        """Return 0: nothing is cached in this mode."""
        return 0

    def predict(self, prompt_tokens: int) -> tuple[float, float]:
        """Return the means of (TTFT, time per output token) in seconds at the present load."""
        factor = self._factor(len(self._running) + 1) * self._slowdown / 1000
        return ttft_mean_ms(self._latency, prompt_tokens) * factor, self._latency.itl_ms * factor

    # --- the inside ------------------------------------------------------------------------------

    def _run(self, until: float) -> None:
        while self.next_event_time() <= until:
            at, _, job = heappop(self._timers)
            self._token(job, at)

    def _fill(self, now: float) -> None:
        while self._waiting and len(self._running) < self._config.seqs_max:
            job = self._waiting.popleft()
            self._running[job] = None
            job.started_at_s = now
            mean = ttft_mean_ms(self._latency, job.request.prompt_tokens)
            constant = self._latency.calculator == "constant"
            deviation = self._latency.ttft_std_ms if constant else self._latency.prefill_std_ms
            self._schedule(job, now, mean, deviation)

    def _schedule(self, job: _Job, now: float, mean_ms: float, deviation_ms: float) -> None:
        factor = self._factor(len(self._running)) * self._slowdown
        drawn = self._gauss(job, mean_ms * factor, deviation_ms * factor)
        heappush(self._timers, (now + drawn / 1000, self._order, job))
        self._order += 1

    def _factor(self, running: int) -> float:
        return load_factor(
            self._latency.factor_under_load, min(running, self._config.seqs_max), self._config.seqs_max
        )

    def _gauss(self, job: _Job, mean: float, deviation: float) -> float:
        """Draw by Box and Muller; the key is the request and the token, so that load shifts no draw."""
        if not deviation:
            return mean
        key = f"{job.request.request_id}/{job.generated}"
        radius = math.sqrt(-2 * math.log(1 - uniform(self._seed, "radius", key)))
        normal = radius * math.cos(2 * math.pi * uniform(self._seed, "angle", key))
        return min(max(mean + deviation * normal, mean * (1 - CLAMP)), mean * (1 + CLAMP))

    def _token(self, job: _Job, at: float) -> None:
        request = job.request
        if job.first_token_at_s < 0:
            job.first_token_at_s = at
            if request.output_tokens:
                self._events.append(FirstToken(request.request_id, at, job.arrived_at_s, job.started_at_s, 0))
        elif self._per_token:
            self._events.append(Tokens(at, at - job.last_token_at_s, (request.request_id,)))
        job.last_token_at_s = at
        job.generated += 1
        self._tokens += 1
        if job.generated >= request.output_tokens:
            self._finish(job, at)
        elif not request.hangs:
            self._schedule(job, at, self._latency.itl_ms, self._latency.itl_std_ms)

    def _finish(self, job: _Job, at: float) -> None:
        request = job.request
        del self._jobs[request.request_id]
        del self._running[job]
        self._events.append(
            Finished(
                request.request_id,
                at,
                job.arrived_at_s,
                job.started_at_s,
                job.first_token_at_s,
                request.prompt_tokens,
                request.output_tokens,
                0,
                0,
            )
        )
        self._fill(at)
