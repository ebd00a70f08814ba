"""A replica with the latency formula of llm-d-inference-sim, for comparison runs against the Go simulator.

`formula.py` has the times. A pool of `max_num_seqs` workers takes requests first come first served, past
those whose LoRA adapter has no place. No KV limit, no preemption, no interference of prompts with decodes:
that is what it models, and why a controller must not be tuned on it. With prefix caching (`--enable-kvcache`)
whole blocks of prompts are kept, and a prompt counts without those that are there; a prompt for whose blocks
there is no room is computed without the cache (the Go program answers it with 500). Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from controller.llmd.sim.adapters import Adapters
from controller.llmd.sim.blocks import BlockPool
from controller.llmd.sim.draws import normal
from controller.llmd.sim.engine_config import CompatLatency, EngineConfig, KvTransfer
from controller.llmd.sim.formula import drawn_ms, first_token_ms, load_factor, transfer_ms
from controller.llmd.sim.types import EngineEvent, EngineLoad, EngineRequest, Finished, FirstToken, Tokens


@dataclass(slots=True, eq=False)
class _Job:
    request: EngineRequest
    arrived_at_s: float
    started_at_s: float = -1.0
    first_token_at_s: float = -1.0
    last_token_at_s: float = -1.0
    generated: int = 0
    cached_tokens: int = 0
    blocks: list[int] = field(default_factory=list)


class CompatEngine:
    """One replica; the same use as `engine.Engine`."""

    def __init__(self, config: EngineConfig, *, seed: int, per_token: bool = False) -> None:
        if config.latency is None:
            raise ValueError("a compat engine needs config.latency")
        self._config = config
        self._latency = config.latency
        self._transfer = config.transfer
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
        self._pool = BlockPool(config.kv_blocks)
        self._queries = self._hits = 0
        self._adapters = Adapters(config.max_loras, config.max_cpu_loras)

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
            self._leave(job)
            self._fill(now)
        else:
            self._waiting.remove(job)
        return True

    def set_slowdown(self, factor: float, now: float) -> None:
        """Multiply the latencies drawn from now on."""
        self._run(now)
        self._slowdown = factor * self._config.slowdown

    def set_latency(self, latency: CompatLatency | None, transfer: KvTransfer, now: float) -> None:
        """Draw by these latencies from now on."""
        self._run(now)
        self._latency = latency or self._latency
        self._transfer = transfer

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
        """Return the gauges."""
        return EngineLoad(
            running=len(self._running),
            waiting=len(self._waiting),
            unfinished=len(self._jobs),
            kv_usage=self._pool.usage,
            preemptions=0,
            prefix_queries=self._queries,
            prefix_hits=self._hits,
            steps=self._tokens,
            free_places=max(self._config.seqs_max - len(self._jobs), 0),
        )

    def loras(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the adapters that run, and of those that others wait for."""
        waiting = {job.request.lora for job in self._waiting if job.request.lora}
        return self._adapters.in_use(), tuple(sorted(waiting))

    def drop_cache(self) -> None:
        """Forget the cached blocks that nobody references."""
        self._pool.forget()

    def cached_blocks(self, prefix: Sequence[int]) -> int:
        """Return how many leading blocks of `prefix` are in the cache."""
        return self._pool.match(prefix)

    def predict(self, prompt_tokens: int) -> tuple[float, float]:
        """Return the means of (TTFT, time per output token) in seconds at the present load."""
        factor = self._factor(len(self._running) + 1)
        mean, _ = first_token_ms(self._latency, prompt_tokens=prompt_tokens, factor=factor)
        return mean * self._slowdown / 1000, self._latency.itl_ms * factor * self._slowdown / 1000

    # --- the inside ------------------------------------------------------------------------------

    def _run(self, until: float) -> None:
        while self.next_event_time() <= until:
            at, _, job = heappop(self._timers)
            self._token(job, at)

    def _fill(self, now: float) -> None:
        while len(self._running) < self._config.seqs_max:
            job = next((job for job in self._waiting if self._adapters.fits(job.request.lora)), None)
            if job is None:
                return
            self._waiting.remove(job)
            job.started_at_s = now
            self._keep_blocks(job)
            self._running[job] = None
            self._adapters.enter(job.request.lora)
            if job.cached_tokens < job.request.hit_rate_min * job.request.prompt_tokens:
                self._finish(job, now, cold=True)
            else:
                self._schedule(job, now, *self._first_token(job))

    def _keep_blocks(self, job: _Job) -> None:
        """Find the prompt's blocks in the cache, and enter those that are not there."""
        if not self._config.prefix_caching:
            return
        pool, prefix = self._pool, job.request.prefix
        self._queries += job.request.prompt_tokens
        hits = prefix[: pool.match(prefix)]
        fresh = prefix[len(hits) :]
        if len(fresh) + pool.idle_among(hits) > pool.available:
            return
        pool.share(hits)
        pool.take(len(fresh))
        for block in fresh:
            if not pool.publish(block):  # known, but not all before it: it stays one block
                pool.release(1, ())
                pool.share([block])
        job.blocks = list(prefix)
        job.cached_tokens = len(hits) * self._config.block_tokens
        self._hits += job.cached_tokens

    def _first_token(self, job: _Job) -> tuple[float, float]:
        tokens = job.request.prompt_tokens
        if job.request.remote_prefill:
            return transfer_ms(self._transfer, self._latency.calculator, tokens)
        factor = self._factor(len(self._running))
        return first_token_ms(
            self._latency, prompt_tokens=tokens, cached_tokens=job.cached_tokens, factor=factor
        )

    def _schedule(self, job: _Job, now: float, mean_ms: float, deviation_ms: float) -> None:
        # the key is the request and the token, so that load shifts no draw
        key = f"{job.request.request_id}/{job.generated}"
        draw = normal(self._seed, "latency", key) if deviation_ms else 0.0
        drawn = drawn_ms(mean_ms, deviation_ms, draw, whole_ms=self._latency.whole_ms)
        heappush(self._timers, (now + drawn * self._slowdown / 1000, self._order, job))
        self._order += 1

    def _factor(self, running: int) -> float:
        places = self._config.seqs_max
        return load_factor(self._latency.factor_under_load, min(running, places), places)

    def _token(self, job: _Job, at: float) -> None:
        request = job.request
        if job.first_token_at_s < 0:
            job.first_token_at_s = at
            if request.output_tokens:
                self._events.append(
                    FirstToken(request.request_id, at, job.arrived_at_s, job.started_at_s, job.cached_tokens)
                )
        elif self._per_token:
            self._events.append(Tokens(at, at - job.last_token_at_s, (request.request_id,)))
        job.last_token_at_s = at
        job.generated += 1
        self._tokens += 1
        if job.generated >= request.output_tokens:
            self._finish(job, at)
        elif not request.hangs:
            factor = self._factor(len(self._running))
            self._schedule(job, at, self._latency.itl_ms * factor, self._latency.itl_std_ms)

    def _leave(self, job: _Job) -> None:
        del self._running[job]
        self._pool.release(0, job.blocks)
        self._adapters.leave(job.request.lora)

    def _finish(self, job: _Job, at: float, *, cold: bool = False) -> None:
        request = job.request
        del self._jobs[request.request_id]
        self._leave(job)
        self._events.append(
            Finished(
                request.request_id,
                at,
                job.arrived_at_s,
                job.started_at_s,
                at if cold else job.first_token_at_s,
                request.prompt_tokens,
                0 if cold else request.output_tokens,
                job.cached_tokens,
                0,
                cold,
            )
        )
        if not cold:  # else the caller goes on filling
            self._fill(at)
