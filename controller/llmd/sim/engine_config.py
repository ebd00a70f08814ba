"""What one simulated replica is made of: step times, batch, cache, latencies; frozen and checked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

Scheduling = Literal["fcfs", "priority"]
Calculator = Literal["", "constant", "per-token"]


class SimConfigError(ValueError):
    """The configuration contradicts itself; the message names the key and the remedy."""


def require(condition: bool, message: str) -> None:
    """Raise `SimConfigError` with the message unless the condition holds: a line for each rule."""
    if not condition:
        raise SimConfigError(message)


def require_deviation(latency: object, mean: str, deviation: str) -> None:
    """Check llm-d-inference-sim's bound on a duration and its standard deviation. Raise `SimConfigError`."""
    require(getattr(latency, mean) >= 0, f"{mean} must not be negative")
    require(
        0 <= getattr(latency, deviation) <= 0.3 * getattr(latency, mean),
        f"{deviation} must be between 0 and 30 % of {mean}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModel:
    """Constants of the time of one engine step, in milliseconds (see `engine.step_ms`)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    floor_ms: float
    token_ms: float
    kv_ms: float = 0.0
    seq_ms: float = 0.005
    host_ms: float = 0.3
    comm_ms: float = 0.0
    comm_token_ms: float = 0.0
    attention_ms: float = 0.0

    def __post_init__(self) -> None:
        for name in ("floor_ms", "token_ms"):
            require(getattr(self, name) > 0, f"step.{name} must be above 0")
        for name in ("kv_ms", "seq_ms", "host_ms", "comm_ms", "comm_token_ms", "attention_ms"):
            require(getattr(self, name) >= 0, f"step.{name} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatLatency:
    """Latency by the formula of llm-d-inference-sim instead of the step model (`formula.py`).

    `whole_ms` cuts every duration to whole milliseconds, as the Go program does.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    calculator: Calculator = ""
    ttft_ms: float = 0.0
    ttft_std_ms: float = 0.0
    itl_ms: float = 0.0
    itl_std_ms: float = 0.0
    prefill_overhead_ms: float = 0.0
    prefill_token_ms: float = 0.0
    prefill_std_ms: float = 0.0
    factor_under_load: float = 1.0
    whole_ms: bool = False

    def __post_init__(self) -> None:
        require(self.factor_under_load >= 1, "time-factor-under-load must be at least 1.0")
        require_deviation(self, "ttft_ms", "ttft_std_ms")
        require_deviation(self, "itl_ms", "itl_std_ms")
        for name in ("prefill_overhead_ms", "prefill_token_ms", "prefill_std_ms"):
            require(getattr(self, name) >= 0, f"{name} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class KvTransfer:
    """How long a prompt's KV cache takes to come from another replica (`do_remote_prefill`).

    `latency_ms` when it is given, else `token_ms` for each token of the prompt. Load changes neither.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    latency_ms: float = 0.0
    latency_std_ms: float = 0.0
    token_ms: float = 0.0
    token_std_ms: float = 0.0

    def __post_init__(self) -> None:
        require_deviation(self, "latency_ms", "latency_std_ms")
        for name in ("token_ms", "token_std_ms"):
            require(getattr(self, name) >= 0, f"transfer.{name} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One vLLM replica: its step times, its batch, its cache.

    `slowdown` multiplies every step: 4.0 stands for a quarter of the accelerator. `waiting_max` bounds the
    waiting queue (0: unbounded, as vLLM). `overhead_ms` is the API server before the engine's queue.
    `latency` switches to the compat formula, which has no KV limit and no preemption. Sequences of at most
    `max_loras` adapters run together, `max_cpu_loras` (0: as many) stay in memory, and one that is not there
    makes the step that loads it `lora_load_ms` longer (0: no published figure is known to us).
    `hit_rate_min` refuses prompts of which less is cached, unless a request says otherwise.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    step: StepModel
    seqs_max: int = 1024
    batched_tokens_max: int = 8192
    kv_blocks: int = 26_300
    block_tokens: int = 16
    context_max: int = 131_072
    prefix_caching: bool = True
    scheduling: Scheduling = "fcfs"
    waiting_max: int = 0
    overhead_ms: float = 15.0
    slowdown: float = 1.0
    latency: CompatLatency | None = None
    transfer: KvTransfer = field(default_factory=KvTransfer)
    max_loras: int = 1
    max_cpu_loras: int = 0
    lora_load_ms: float = 0.0
    hit_rate_min: float = 0.0

    def __post_init__(self) -> None:
        require(self.max_loras >= 1, "engine.max_loras must be at least 1")
        require(
            self.max_cpu_loras == 0 or self.max_cpu_loras >= self.max_loras,
            "engine.max_cpu_loras must not be below max_loras",
        )
        require(self.lora_load_ms >= 0, "engine.lora_load_ms must not be negative")
        require(0 <= self.hit_rate_min <= 1, "engine.hit_rate_min must be between 0 and 1")
        require(self.seqs_max >= 1, "engine.seqs_max must be at least 1")
        require(
            self.batched_tokens_max >= self.seqs_max,
            "engine.batched_tokens_max must be at least seqs_max: every sequence takes a token a step",
        )
        require(self.block_tokens >= 1, "engine.block_tokens must be at least 1")
        require(
            self.latency is not None or self.context_max <= self.kv_blocks * self.block_tokens,
            "engine.context_max is larger than the KV cache: lower it or raise kv_blocks",
        )
        require(self.context_max >= 2, "engine.context_max must be at least 2")
        require(self.waiting_max >= 0, "engine.waiting_max must not be negative")
        require(self.overhead_ms >= 0, "engine.overhead_ms must not be negative")
        require(self.slowdown > 0, "engine.slowdown must be above 0")
