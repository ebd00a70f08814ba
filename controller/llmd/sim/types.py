"""What goes into a simulated replica and what comes out of it: requests, events, gauges. Pure data.

All times are seconds of the one clock of the run; it may start anywhere and never goes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One sequence to compute.

    `output_tokens` is how long the answer will be (0: pooling, done with the prompt). `priority` follows
    vLLM: lower is earlier, read only under priority scheduling. `prefix` holds the chained hashes of the
    prompt's leading full blocks; empty means that nothing is shared. `hangs`: a fault, no token follows
    the first one and the place is held until `cancel`.
    """

    request_id: str
    prompt_tokens: int
    output_tokens: int
    priority: int = 0
    prefix: Sequence[int] = ()
    hangs: bool = False


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
    """One more token for each of `request_ids`, none of them the first; only emitted with `per_token`.

    `gap_s` is the time since the token before: the step, or the whole stall after a preemption.
    """

    at_s: float
    gap_s: float
    request_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Preempted:
    """The sequence lost its blocks and waits again; what it has sent stays sent."""

    request_id: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """All tokens exist. `first_token_at_s` is the end of the prompt for pooling requests."""

    request_id: str
    at_s: float
    arrived_at_s: float
    scheduled_at_s: float
    first_token_at_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    preemptions: int


EngineEvent = FirstToken | Tokens | Preempted | Finished


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Gauges and counters of one replica, under vLLM's meanings.

    `running` holds blocks, `waiting` was seen by the scheduler and not admitted, `unfinished` is everything
    submitted and not done. `kv_usage` is 0..1. `prefix_*` count tokens.
    """

    running: int
    waiting: int
    unfinished: int
    kv_usage: float
    preemptions: int
    prefix_queries: int
    prefix_hits: int
    steps: int


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

    def next_event_time(self) -> float:
        """Return the earliest time at which `advance` may change or tell something; infinity when idle."""
        ...

    def advance(self, until: float) -> list[EngineEvent]:
        """Live up to and including `until`; return what happened, in order of time."""
        ...

    def load(self) -> EngineLoad:
        """Return the gauges as of the last call."""
        ...

    def cached_blocks(self, prefix: Sequence[int]) -> int:
        """Return how many leading blocks of `prefix` this replica holds."""
        ...

    def predict(self, prompt_tokens: int) -> tuple[float, float]:
        """Return the predicted (TTFT, time per output token), in seconds, of a prompt that came now."""
        ...
