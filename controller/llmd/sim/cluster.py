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

from controller.llmd.sim.config import Faults, SimConfig
from controller.llmd.sim.engine_config import CompatLatency, KvTransfer
from controller.llmd.sim.pool import Pool
from controller.llmd.sim.types import Dropped, Event, Finished, Part, PoolSignals, SimRequest

LORAS_MAX = 1000
"""Adapters served at a time: each is a name in every list of models."""
LORA_NAME_CHARS_MAX = 256
"""Names of adapters are labels of metrics."""


class Cluster:
    """Every pool of a configuration. See the module for its use."""

    def __init__(self, config: SimConfig, *, per_token: bool = False) -> None:
        self.pools = {
            model.name: Pool(model, config.router, config.seed + 1000 * index, per_token=per_token)
            for index, model in enumerate(config.models)
        }
        self._pool_of = {
            name: self.pools[model.name] for model in config.models for name in (model.name, *model.aliases)
        }
        self._homes: dict[str, Pool] = {}
        self._now = -math.inf
        self.set_faults(config.faults, -math.inf)

    def pool(self, model: str) -> Pool:
        """Return the pool of a model name, an alias or a LoRA adapter. Raise KeyError when there is none."""
        for pool in self.pools.values():
            if model in pool.loras:
                return pool
        return self._pool_of[model]

    def serves(self, model: str) -> bool:
        """Tell whether there is a model, alias or adapter of this name."""
        return model in self._pool_of or any(model in pool.loras for pool in self.pools.values())

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

    def set_latency(self, latency: CompatLatency | None, transfer: KvTransfer, now: float) -> None:
        """Let every pool take these latencies from now on, as far as it has them."""
        for pool in self.pools.values():
            pool.set_latency(latency, transfer, now)

    def sleep(self, now: float, *, asleep: bool) -> None:
        """Discard every prefix cache and leave it off, or let them fill again."""
        for pool in self.pools.values():
            pool.sleep(now, asleep=asleep)

    def load_lora(self, name: str, path: str, base: str) -> None:
        """Serve an adapter of model `base`.

        Raise ValueError for a name in use or too long and for too many adapters, KeyError for the base.
        """
        loaded = [name for pool in self.pools.values() for name in pool.loras]
        if name in self._pool_of or name in loaded:
            raise ValueError(f"{name!r} is served already")
        if len(loaded) >= LORAS_MAX or len(name) > LORA_NAME_CHARS_MAX:
            raise ValueError(f"at most {LORAS_MAX} adapters with names of {LORA_NAME_CHARS_MAX} characters")
        self._pool_of[base].loras[name] = path

    def unload_lora(self, name: str) -> None:
        """Serve an adapter no more; what runs with it ends as it would. Raise KeyError when there is none."""
        pool = next((pool for pool in self.pools.values() if name in pool.loras), None)
        if pool is None:
            raise KeyError(name)
        del pool.loras[name]

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
