"""What a simulated llm-d is made of: models, engines, router, faults; frozen, checked, effect-free.

A configuration is built in Python, by `preset(name)`, or from one YAML document (`SimConfig.from_yaml`);
the keys of the document are the fields below. Durations carry their unit in the name. Must never read a
file, a clock or the environment: the command does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

Scheduling = Literal["fcfs", "priority"]
RouterVersion = Literal["0.11", "0.10", "0.9", "gaie"]
Saturation = Literal["utilization", "concurrency"]
Ordering = Literal["fcfs", "slo-deadline"]
Calculator = Literal["constant", "per-token"]
Lengths = Literal["azure-conv", "llm-d-sim"]

FAULT_KINDS: Mapping[str, int] = MappingProxyType(
    {
        "rate_limit": 429,
        "invalid_api_key": 401,
        "context_length": 400,
        "server_error": 503,
        "invalid_request": 400,
        "model_not_found": 404,
    }
)
"""Injected failures and their statuses, by the names of llm-d-inference-sim's `--failure-types`."""


class SimConfigError(ValueError):
    """The configuration contradicts itself; the message names the key and the remedy."""


def _require(condition: bool, message: str) -> None:  # one line per rule keeps the rules readable
    if not condition:
        raise SimConfigError(message)


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
            _require(getattr(self, name) > 0, f"step.{name} must be above 0")
        for name in ("kv_ms", "seq_ms", "host_ms", "comm_ms", "comm_token_ms", "attention_ms"):
            _require(getattr(self, name) >= 0, f"step.{name} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatLatency:
    """Latency by the formula of llm-d-inference-sim instead of the step model (`compat.py`)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    calculator: Calculator = "constant"
    ttft_ms: float = 0.0
    ttft_std_ms: float = 0.0
    itl_ms: float = 0.0
    itl_std_ms: float = 0.0
    prefill_overhead_ms: float = 0.0
    prefill_token_ms: float = 0.0
    prefill_std_ms: float = 0.0
    factor_under_load: float = 1.0

    def __post_init__(self) -> None:
        _require(self.factor_under_load >= 1, "time-factor-under-load must be at least 1.0")
        for mean, deviation in (("ttft_ms", "ttft_std_ms"), ("itl_ms", "itl_std_ms")):
            _require(
                0 <= getattr(self, deviation) <= 0.3 * getattr(self, mean),
                f"{deviation} must be between 0 and 30 % of {mean}",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One vLLM replica: its step times, its batch, its cache.

    `slowdown` multiplies every step: 4.0 stands for a quarter of the accelerator. `waiting_max` bounds the
    waiting queue (0: unbounded, as vLLM). `overhead_ms` is the API server before the engine's queue.
    `latency` switches to the compat formula, which has no KV limit and no preemption.
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

    def __post_init__(self) -> None:
        _require(self.seqs_max >= 1, "engine.seqs_max must be at least 1")
        _require(
            self.batched_tokens_max >= self.seqs_max,
            "engine.batched_tokens_max must be at least seqs_max: every sequence takes a token a step",
        )
        _require(self.block_tokens >= 1, "engine.block_tokens must be at least 1")
        _require(
            self.latency is not None or self.context_max <= self.kv_blocks * self.block_tokens,
            "engine.context_max is larger than the KV cache: lower it or raise kv_blocks",
        )
        _require(self.context_max >= 2, "engine.context_max must be at least 2")
        _require(self.waiting_max >= 0, "engine.waiting_max must not be negative")
        _require(self.overhead_ms >= 0, "engine.overhead_ms must not be negative")
        _require(self.slowdown > 0, "engine.slowdown must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One pool: a model name, its replicas and what a planner may know of it.

    Prices are USD per million tokens; `quality` is a score in 0..1 that only planners read.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    engine: EngineConfig
    aliases: tuple[str, ...] = ()
    replicas: int = 1
    price_in: float = 0.0
    price_out: float = 0.0
    quality: float = 1.0

    def __post_init__(self) -> None:
        _require(bool(self.name), "a model needs a name")
        _require(self.replicas >= 0, f"model {self.name}: replicas must not be negative")
        _require(self.price_in >= 0, f"model {self.name}: price_in must not be negative")
        _require(self.price_out >= 0, f"model {self.name}: price_out must not be negative")
        _require(0 <= self.quality <= 1, f"model {self.name}: quality must be between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig:
    """The endpoint picker in front of every pool; the defaults are llm-d's own where it has one.

    `objectives` are the InferenceObjectives of the pool's namespace: name to priority, higher is more
    urgent, negative is sheddable. `version` decides which header names are known and how refusals look.
    `blind_between_scrapes` is how the real utilization detector works: what was dispatched shows only in the
    next scrape, so that a whole backlog leaves at once when there is room; by default it is counted at once.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = True
    version: RouterVersion = "0.11"
    flow_control: bool = True
    objectives: Mapping[str, int] = field(
        default_factory=lambda: {"critical": 4, "standard": 3, "batch": -1, "sheddable": -2, "background": -3}
    )
    ordering: Ordering = "fcfs"
    queue_requests_max: int = 5000
    queue_bytes_max: int = 1_000_000_000
    band_requests_max: int = 2000
    ttl_s: float = 60.0
    no_endpoint_ttl_s: float = 0.0
    saturation: Saturation = "utilization"
    queue_depth_threshold: float = 5.0
    kv_threshold: float = 0.8
    concurrency_threshold: int = 100
    metrics_interval_s: float = 0.05
    blind_between_scrapes: bool = False
    eviction: bool = False
    evictions_per_decision: int = 2
    eviction_grace_s: float = 0.5
    latency_slo_admitter: bool = False
    propagate_priority: bool = False

    def __post_init__(self) -> None:
        for name in (
            "queue_requests_max",
            "queue_bytes_max",
            "band_requests_max",
            "ttl_s",
            "queue_depth_threshold",
            "kv_threshold",
            "concurrency_threshold",
            "metrics_interval_s",
        ):
            _require(getattr(self, name) > 0, f"router.{name} must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong on purpose; changed at run time by `POST /admin/config`.

    `slowdown` multiplies step times; `errors` gives the share of requests (0..1) that fail with each kind
    of `FAULT_KINDS`; `hang_rate` is the share that stops after its first token and holds its place until
    the client goes; `refuse` drops connections unanswered; `replicas_down` takes so many replicas out of the
    pool, where what they began still ends; `metrics_blackout` makes `/metrics` answer 503. `model` limits all
    of it to one model; empty means every model.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    slowdown: float = 1.0
    errors: Mapping[str, float] = field(default_factory=dict)
    hang_rate: float = 0.0
    refuse: bool = False
    replicas_down: int = 0
    metrics_blackout: bool = False
    model: str = ""

    def __post_init__(self) -> None:
        _require(self.slowdown > 0, "faults.slowdown must be above 0")
        _require(self.replicas_down >= 0, "faults.replicas_down must not be negative")
        _require(0 <= self.hang_rate <= 1, "faults.hang_rate must be between 0 and 1")
        unknown = sorted(set(self.errors) - set(FAULT_KINDS))
        _require(not unknown, f"faults.errors: unknown kind {unknown}; known are {sorted(FAULT_KINDS)}")
        _require(
            all(rate >= 0 for rate in self.errors.values()), "faults.errors: a rate must not be negative"
        )
        _require(sum(self.errors.values()) <= 1, "faults.errors: the rates must not sum above 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """A whole simulated llm-d.

    `time_scale` is how many simulated seconds pass in one second of the server: everything, latencies,
    timeouts and reported durations, is then that much shorter. `seed` decides every draw.
    `tool_call_rate` is how often `tool_choice: auto` leads to a call.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    models: tuple[ModelConfig, ...]
    router: RouterConfig = field(default_factory=RouterConfig)
    faults: Faults = field(default_factory=Faults)
    seed: int = 1
    time_scale: float = 1.0
    mode: Literal["random", "echo"] = "random"
    lengths: Lengths = "azure-conv"
    tool_call_rate: float = 0.5
    embedding_dimensions: int = 384
    request_id_headers: bool = True
    startup_s: float = 0.0
    pod: str = ""
    namespace: str = ""

    def __post_init__(self) -> None:
        _require(bool(self.models), "models must name at least one model")
        names = [name for model in self.models for name in (model.name, *model.aliases)]
        _require(len(set(names)) == len(names), "models: a name or alias is used twice")
        _require(self.time_scale > 0, "time_scale must be above 0")
        _require(0 <= self.tool_call_rate <= 1, "tool_call_rate must be between 0 and 1")
        _require(1 <= self.embedding_dimensions <= 8192, "embedding_dimensions must be between 1 and 8192")
        _require(self.startup_s >= 0, "startup_s must not be negative")

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a configuration from YAML text. Raise `SimConfigError` that names the wrong key.

        `preset: NAME` at the top starts from a preset, whose top-level keys the document then replaces.
        Inside a model, `hardware: NAME` starts its engine from a hardware preset of `presets.HARDWARE`.
        """
        from controller.llmd.sim.document import read_config

        return read_config(cls, text)


def preset(name: str) -> SimConfig:
    """Return the configuration named `name`. Raise `SimConfigError` for an unknown one."""
    from controller.llmd.sim.presets import PRESETS

    if name not in PRESETS:
        raise SimConfigError(f"unknown preset {name!r}; known are {sorted(PRESETS)}")
    return PRESETS[name]


def as_json(config: SimConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON types, as `GET /admin/config` shows it."""
    from dataclasses import asdict

    return asdict(config)
