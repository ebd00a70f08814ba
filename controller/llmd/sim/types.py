"""What goes into simulated replicas and pools and what comes out: requests, events, gauges. Pure data.

All times are seconds of the one clock of the run; it may start anywhere and never goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from controller.llmd.sim.engine_config import CompatLatency, KvTransfer
from controller.llmd.sim.intent import LlmdIntent

NO_INTENT: Final = LlmdIntent()
"""What a request without llm-d headers says."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One sequence to compute.

    `output_tokens` is how long the answer will be (0: pooling, done with the prompt). `priority` follows
    vLLM: lower is earlier, read only under priority scheduling. `prefix` holds the chained hashes of the
    prompt's leading full blocks; empty means that nothing is shared. `answer_blocks` goes on from there with
    the hashes of the full blocks that the answer completes: a later prompt that contains it finds them.
    `hangs`: a fault, no token follows the first one and the place is held until `cancel`. `lora` names the
    adapter, `remote_prefill` says that the prompt's cache comes from another replica, and with `hit_rate_min`
    a prompt of which a smaller share is cached here ends at once, without a token.
    """

    request_id: str
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    prefix: Sequence[int] = ()
    hangs: bool = False
    answer_blocks: Sequence[int] = ()
    lora: str = ""
    remote_prefill: bool = False
    hit_rate_min: float = 0.0


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The prompt is computed and the first token exists. `scheduled_at_s` is when its first chunk began."""

    request_id: str
    at_s: float
    arrived_at_s: float
    scheduled_at_s: float
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """One step: one more token for each of `request_ids`, none of them the first; only with `per_token`.

    `gap_s` is the time since the token before: the step, or the whole stall after a preemption.
    `prefill_tokens` were computed in the same step; there may be no ids at all.
    """

    at_s: float
    gap_s: float
    request_ids: Sequence[str]
    prefill_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Preempted:
    """The sequence lost its blocks and waits again; what it has sent stays sent."""

    request_id: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """All tokens exist. `first_token_at_s` is the end of the prompt for pooling requests.

    `cold`: nothing was computed, because too little of the prompt was cached (`hit_rate_min`).
    """

    request_id: str
    at_s: float
    arrived_at_s: float
    scheduled_at_s: float
    first_token_at_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    preemptions: int
    cold: bool = False


EngineEvent = FirstToken | Tokens | Preempted | Finished


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Gauges and counters of one replica, under vLLM's meanings.

    `running` holds blocks, `free_places` more could run by `seqs_max`, `waiting` was seen by the scheduler
    and not admitted, `unfinished` is everything submitted and not done. `kv_usage` is 0..1. `prefix_*` count
    tokens.
    """

    running: int
    waiting: int
    unfinished: int
    kv_usage: float
    preemptions: int
    prefix_queries: int
    prefix_hits: int
    steps: int
    free_places: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A further sequence of a request: another choice, another prompt of a batch, another input to embed."""

    prompt_tokens: int
    output_tokens: int
    prefix: Sequence[int] = ()
    answer_blocks: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One request to a pool. `intent` is what the picker reads; `priority` is vLLM's, lower is earlier.

    The rest is as in `EngineRequest`.
    """

    request_id: str
    model: str
    prompt_tokens: int
    output_tokens: int
    intent: LlmdIntent = NO_INTENT
    priority: int = 0
    prefix: Sequence[int] = ()
    body_bytes: int = 0
    extra_parts: tuple[Part, ...] = ()
    answer_blocks: Sequence[int] = ()
    lora: str = ""
    remote_prefill: bool = False
    hit_rate_min: float = 0.0


@dataclass(frozen=True, slots=True)
class Dispatched:
    """The picker sent it to a replica. `queue_s`: time in flow control; None when that is off.

    `predicted`: the (TTFT, TPOT) in seconds that the picker's predictor expects; None without one.
    """

    request_id: str
    at_s: float
    model: str
    replica: int
    priority: int
    fairness_id: str
    queue_s: float | None
    predicted: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Refused, or cut when `evicted`. `reason` is the dropped-reason header, None when there is none.

    `kind` says who: `router`, `engine` (its waiting queue is full) or `fault` (injected, named by `outcome`).
    """

    request_id: str
    at_s: float
    model: str
    status: int
    reason: str | None
    message: str
    kind: str
    outcome: str
    priority: int
    queue_s: float
    evicted: bool = False


Event = Dispatched | Dropped | EngineEvent


@dataclass(frozen=True, slots=True)
class PoolSignals:
    """What a pool's metrics show, live; `saturation` as last scraped by the picker."""

    replicas: tuple[EngineLoad, ...]
    saturation: float
    queued: int
    in_flight: int

    @property
    def running(self) -> int:
        """Running sequences of all replicas."""
        return sum(load.running for load in self.replicas)

    @property
    def waiting(self) -> int:
        """Sequences that wait inside the engines."""
        return sum(load.waiting for load in self.replicas)

    @property
    def kv_usage(self) -> float:
        """Mean share of KV blocks in use, 0..1; 0 without replicas."""
        return sum(load.kv_usage for load in self.replicas) / len(self.replicas) if self.replicas else 0.0


class Replica(Protocol):
    """What the router and the drivers need of a replica: `engine.Engine` or `compat.CompatEngine`."""

    def submit(self, request: EngineRequest, now: float) -> bool:
        """Take the request in; False when the waiting queue is at its bound."""
        ...

    def cancel(self, request_id: str, now: float) -> bool:
        """Free everything the request holds, at once; False when it is not here (any more)."""
        ...

    def set_slowdown(self, factor: float, now: float) -> None:
        """Multiply the times of steps that begin from now on."""
        ...

    def set_latency(self, latency: CompatLatency | None, transfer: KvTransfer, now: float) -> None:
        """Take these latencies from now on, as far as they are this replica's."""
        ...

    def next_event_time(self) -> float:
        """Return the earliest time at which `advance` may change or tell something; infinity when idle."""
        ...

    def advance(self, until: float) -> list[EngineEvent]:
        """Live up to and including `until`; return what happened, in order of time."""
        ...

    def load(self) -> EngineLoad:
        """Return the gauges as of the last call."""
        ...

    def loras(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the adapters that run, and of those that others wait for."""
        ...

    def drop_cache(self) -> None:
        """Forget the cached blocks that nobody references."""
        ...

    def cached_blocks(self, prefix: Sequence[int]) -> int:
        """Return how many leading blocks of `prefix` this replica holds."""
        ...

    def predict(self, prompt_tokens: int) -> tuple[float, float]:
        """Return the predicted (TTFT, time per output token), in seconds, of a prompt that came now."""
        ...
