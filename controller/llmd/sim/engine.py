"""One simulated vLLM replica: continuous batching over a block-granular KV cache. Pure: time is an argument.

Use, in a discrete-event run as in the server (all times in seconds of one clock that starts anywhere):

    engine = Engine(config)
    engine.submit(EngineRequest("r1", prompt_tokens=512, output_tokens=256), now=0.0)
    while (at := engine.next_event_time()) < math.inf:
        for event in engine.advance(at):       # FirstToken, Tokens, Preempted, Finished, in time order
            ...
    engine.cancel("r1", now)                   # frees at once; no event follows
    engine.load()                              # what the replica's gauges show, as of the last call

`submit`, `cancel` and `advance` must be called with times that never go back; requests, events and gauges
are in `types`. For whole pools behind the endpoint picker use `cluster.Cluster`, which has the same shape.
With `per_token=False` (runs) `Tokens` are not emitted, and steps of an unchanged batch are taken in one
stride: the cost is then per change of the batch, not per token. With `per_token=True` (the server) there
is one `Tokens` event a step. The times agree up to the rounding of a sum.

What a step does (vLLM V1 scheduler, llm-d.md D1): running decodes first, one token each; the rest of the
token budget goes to prompts being computed, then to waiting ones, while sequences and blocks last. The
whole step takes `steps.step_ms`, and everyone in it waits for its end. When a sequence needs a block and
there is none, the last admitted one (or the least urgent, under priority scheduling) gives up its blocks
and computes everything again from the front of the queue: preemption by recompute, never an error. A
waiting prompt is admitted only when the blocks of the whole prompt are free (vLLM's reservation of the
full input), so that chunked prompts do not preempt each other.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Sequence as Hashes
from operator import itemgetter

from controller.llmd.sim.batch import Batch, Sequence
from controller.llmd.sim.draws import normal
from controller.llmd.sim.engine_config import CompatLatency, EngineConfig, KvTransfer
from controller.llmd.sim.formula import drawn_ms, transfer_ms
from controller.llmd.sim.steps import step_ms, steps_within, stride_s
from controller.llmd.sim.types import (
    EngineEvent,
    EngineLoad,
    EngineRequest,
    Finished,
    FirstToken,
    Preempted,
    Tokens,
)


class Engine:
    """One replica. See the module for its use."""

    def __init__(self, config: EngineConfig, *, seed: int = 0, per_token: bool = False) -> None:
        self._config = config
        self._seed = seed
        self._transfer = config.transfer
        self._per_token = per_token
        self._slowdown = config.slowdown
        self._batch = Batch(config)
        self._sequences: dict[str, Sequence] = {}
        self._incoming: deque[tuple[float, Sequence]] = deque()
        self._events: list[EngineEvent] = []
        self._order = 0
        self._preemptions = 0
        self._step_start = 0.0
        self._step_end = math.inf
        self._step_prefill = 0
        self._repeats = False
        self._horizon = math.inf

    # --- the outside -----------------------------------------------------------------------------

    def submit(self, request: EngineRequest, now: float) -> bool:
        """Take the request in; False when `waiting_max` others wait. Raise ValueError when it cannot fit."""
        config = self._config
        tokens = request.prompt_tokens + request.output_tokens
        if request.prompt_tokens < 1 or tokens > config.kv_blocks * config.block_tokens:
            raise ValueError(
                f"a request of {tokens} tokens does not fit the replica: bound it by context_max"
            )
        if request.request_id in self._sequences:
            raise ValueError(f"request id {request.request_id!r} is in use")
        self._run(math.nextafter(now, -math.inf))
        if config.waiting_max and len(self._batch.waiting) + len(self._incoming) >= config.waiting_max:
            return False
        chain = (*request.prefix, *request.answer_blocks) if request.answer_blocks else request.prefix
        sequence = Sequence(request, request.priority, self._order, now, request.prompt_tokens, chain)
        self._order += 1
        self._sequences[request.request_id] = sequence
        ready = now + config.overhead_ms / 1000
        if request.remote_prefill:
            ready += self._transfer_s(request)
        if self._incoming and self._incoming[-1][0] > ready:
            insort(self._incoming, (ready, sequence), key=itemgetter(0))
        else:
            self._incoming.append((ready, sequence))
        self._look_ahead()
        return True

    def cancel(self, request_id: str, now: float) -> bool:
        """Free all that the request holds; False when it is not here. The step in flight takes its time."""
        self._run(now)
        sequence = self._sequences.pop(request_id, None)
        if sequence is None:
            return False
        batch = self._batch
        if sequence in batch.running:
            batch.leave(sequence, in_step=self._step_end < math.inf)
            self._repeats = False
        elif any(entry[1] is sequence for entry in self._incoming):
            self._incoming = deque(entry for entry in self._incoming if entry[1] is not sequence)
        else:
            batch.waiting.drop(sequence)
        if self._step_end == math.inf:
            self._plan(now)
        self._look_ahead()
        return True

    def set_slowdown(self, factor: float, now: float) -> None:
        """Multiply the times of the steps that begin from now on by `factor` (and by the configured one)."""
        self._run(now)
        self._slowdown = factor * self._config.slowdown
        self._repeats = False
        self._look_ahead()

    def set_latency(self, _latency: CompatLatency | None, transfer: KvTransfer, _now: float) -> None:
        """Let prompts that come from elsewhere take this long from now on; the rest has its step model."""
        self._transfer = transfer

    def next_event_time(self) -> float:
        """Return when `advance` may next change or tell something; infinity when there is nothing to do."""
        return self._horizon

    def advance(self, until: float) -> list[EngineEvent]:
        """Live up to and including `until`; return what happened, in order of time."""
        self._run(until)
        events, self._events = self._events, []
        return events

    def load(self) -> EngineLoad:
        """Return the gauges as of the last call that named a time."""
        batch = self._batch
        return EngineLoad(
            running=len(batch.running),
            waiting=len(batch.waiting),
            unfinished=len(self._sequences),
            kv_usage=batch.pool.usage,
            preemptions=self._preemptions,
            prefix_queries=batch.prefix_queries,
            prefix_hits=batch.prefix_hits,
            steps=batch.count,
            free_places=max(self._config.seqs_max - len(self._sequences), 0),
        )

    def loras(self) -> tuple[Hashes[str], Hashes[str]]:
        """Return the names of the adapters that run, and of those that others wait for."""
        members = self._batch.waiting.members()
        waiting = {each.request.lora for each in members if each.request.lora}
        return self._batch.adapters.in_use(), tuple(sorted(waiting))

    def drop_cache(self) -> None:
        """Forget the cached blocks that nobody references."""
        self._batch.pool.forget()

    def cached_blocks(self, prefix: Hashes[int]) -> int:
        """Return how many leading blocks of `prefix` are in the cache."""
        return self._batch.pool.match(prefix)

    def predict(self, prompt_tokens: int) -> tuple[float, float]:
        """Return the predicted (TTFT, time per output token) in seconds: what waits, in full steps.

        A stand-in for llm-d's trained predictor: it knows the step model and the queue, and not when a place
        or a block will be free.
        """
        config, batch = self._config, self._batch
        decodes = len(batch.decoding)
        prompt = prompt_tokens + batch.uncomputed()
        room = max(config.batched_tokens_max - decodes, 1)
        full, rest = divmod(prompt, room)
        context = batch.context

        def seconds(prefill: int) -> float:
            model = config.step
            time_ms = step_ms(model, prefill_tokens=prefill, decodes=decodes, context_tokens=context)
            return time_ms * self._slowdown / 1000

        ttft_s = config.overhead_ms / 1000 + full * seconds(room) + (seconds(rest) if rest else 0.0)
        return ttft_s, seconds(0)

    # --- the passage of time ---------------------------------------------------------------------

    def _run(self, until: float) -> None:
        """Complete every step that ends by `until`, and begin one when an idle replica gets work."""
        if self._step_end > until and (not self._incoming or self._incoming[0][0] > until):
            return
        while True:
            if self._step_end <= until:
                self._complete(until)
            elif self._step_end == math.inf and self._incoming and self._incoming[0][0] <= until:
                self._plan(self._incoming[0][0])
            else:
                break
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Set the horizon: the end of the stride in flight, or sooner when an arrival changes the batch."""
        ready = self._incoming[0][0] if self._incoming else math.inf
        if self._step_end == math.inf or not self._repeats:
            self._horizon = min(ready, self._step_end) if self._step_end == math.inf else self._step_end
            return
        first = self._step_end - self._step_start
        stride = stride_s(first, self._growth_s(), self._batch.repeats_max())
        self._horizon = min(self._step_start + stride, max(self._step_end, ready))

    def _growth_s(self) -> float:
        """How much longer each further step of the same decodes takes: their caches grow."""
        return self._config.step.kv_ms * len(self._batch.decoding) * self._slowdown / 1000

    def _complete(self, until: float) -> None:
        """End the step in flight, and with it as many equal ones as the time and the batch allow."""
        batch = self._batch
        first = self._step_end - self._step_start
        steps, end = 1, self._step_end
        if self._repeats and (steps_max := batch.repeats_max()) > 1:
            limit = min(until, self._incoming[0][0]) if self._incoming else until
            growth = self._growth_s()
            steps = steps_within(first, growth, limit - self._step_start, steps_max)
            if steps > 1:
                end = self._step_start + stride_s(first, growth, steps)
        if self._per_token:
            ids = [sequence.request.request_id for sequence in batch.decoding]
            self._events.append(Tokens(end, first, ids, self._step_prefill))
        for sequence in batch.advance(steps):
            self._finish(sequence, end)
        for sequence in batch.end_chunks():
            self._sample(sequence, end)
        self._plan(end)

    def _plan(self, at: float) -> None:
        """Begin the next step at `at`, or fall idle."""
        batch, incoming = self._batch, self._incoming
        while incoming and incoming[0][0] <= at:
            batch.waiting.push(incoming.popleft()[1])
        plan = batch.plan()
        for sequence in plan.preempted:
            self._preemptions += 1
            if sequence.stalled_at_s < 0:
                sequence.stalled_at_s = at
            self._events.append(Preempted(sequence.request.request_id, at))
        for sequence in plan.cold:
            sequence.scheduled_at_s = sequence.first_token_at_s = at
            self._finish(sequence, at, cold=True)
        if not plan.decodes and not plan.prefill_tokens:
            self._step_end = math.inf
            return
        for sequence in batch.chunked:
            if sequence.scheduled_at_s < 0:
                sequence.scheduled_at_s = at
        duration = step_ms(
            self._config.step,
            prefill_tokens=plan.prefill_tokens,
            decodes=plan.decodes,
            context_tokens=plan.context_tokens,
            attention_pairs=plan.attention_pairs,
        )
        duration += plan.lora_loads * self._config.lora_load_ms
        self._step_start = at
        self._step_end = at + duration * self._slowdown / 1000
        self._step_prefill = plan.prefill_tokens
        self._repeats = not plan.prefill_tokens and not self._per_token

    def _sample(self, sequence: Sequence, at: float) -> None:
        """A whole prompt gives a token: the first one, or the next after a preemption."""
        request = sequence.request
        if request.output_tokens:
            sequence.generated += 1
        if sequence.first_token_at_s < 0:
            sequence.first_token_at_s = at
            if request.output_tokens:
                self._events.append(
                    FirstToken(
                        request.request_id,
                        at,
                        sequence.arrived_at_s,
                        sequence.scheduled_at_s,
                        sequence.cached_tokens,
                    )
                )
        elif self._per_token:
            self._events.append(Tokens(at, at - sequence.stalled_at_s, (request.request_id,)))
        sequence.stalled_at_s = -1.0
        if sequence.generated >= request.output_tokens:
            self._batch.leave(sequence, in_step=False)
            self._finish(sequence, at)
        elif not request.hangs:
            self._batch.decode(sequence)

    def _transfer_s(self, request: EngineRequest) -> float:
        """Return how long the prompt's cache takes to come from where it was computed."""
        mean, deviation = transfer_ms(self._transfer, "", request.prompt_tokens)
        draw = normal(self._seed, "transfer", request.request_id) if deviation else 0.0
        return drawn_ms(mean, deviation, draw) * self._slowdown / 1000

    def _finish(self, sequence: Sequence, at: float, *, cold: bool = False) -> None:
        request = sequence.request
        del self._sequences[request.request_id]
        self._events.append(
            Finished(
                request.request_id,
                at,
                sequence.arrived_at_s,
                sequence.scheduled_at_s,
                sequence.first_token_at_s,
                request.prompt_tokens,
                0 if cold else request.output_tokens,
                max(sequence.cached_tokens, 0),
                sequence.preemptions,
                cold,
            )
        )
