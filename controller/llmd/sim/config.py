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

from controller.llmd.sim.engine_config import EngineConfig, SimConfigError, require, require_deviation
from controller.llmd.sim.fake_metrics import FakeMetrics

RouterVersion = Literal["0.11", "0.10", "0.9", "gaie"]
Saturation = Literal["utilization", "concurrency"]
Ordering = Literal["fcfs", "slo-deadline"]
Dialect = Literal["vllm", "sglang"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """An adapter of a model; its name is a served model."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    path: str = ""

    def __post_init__(self) -> None:
        require(bool(self.name), "a LoRA adapter needs a name")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One pool: a model name, its replicas and what a planner may know of it.

    Prices are USD per million tokens; `quality` is a score in 0..1 that only planners read. `loras` are
    served beside it, by the same replicas.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    engine: EngineConfig
    aliases: tuple[str, ...] = ()
    loras: tuple[Lora, ...] = ()
    replicas: int = 1
    price_in: float = 0.0
    price_out: float = 0.0
    quality: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it is served under: its own, aliases, LoRA adapters."""
        return (self.name, *self.aliases, *(lora.name for lora in self.loras))

    def __post_init__(self) -> None:
        require(bool(self.name), "a model needs a name")
        require(self.replicas >= 0, f"model {self.name}: replicas must not be negative")
        require(self.price_in >= 0, f"model {self.name}: price_in must not be negative")
        require(self.price_out >= 0, f"model {self.name}: price_out must not be negative")
        require(0 <= self.quality <= 1, f"model {self.name}: quality must be between 0 and 1")


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
            require(getattr(self, name) > 0, f"router.{name} must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong on purpose; changed at run time by `POST /admin/config`.

    `slowdown` multiplies step times; `errors` gives the share of requests (0..1) that fail with each kind
    of `FAULT_KINDS`; `hang_rate` is the share that stops after its first token and holds its place until
    the client goes; `refuse` drops connections unanswered; `replicas_down` takes so many replicas out of the
    pool, where what they began still ends; `metrics_blackout` makes `/metrics` answer 503; `stale_metrics`
    lets the picker's scrapes fail, so that after 200 ms every replica counts as saturated. `model` limits
    all of it to one model; empty means every model.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    slowdown: float = 1.0
    errors: Mapping[str, float] = field(default_factory=dict)
    hang_rate: float = 0.0
    refuse: bool = False
    replicas_down: int = 0
    metrics_blackout: bool = False
    stale_metrics: bool = False
    model: str = ""

    def __post_init__(self) -> None:
        require(self.slowdown > 0, "faults.slowdown must be above 0")
        require(self.replicas_down >= 0, "faults.replicas_down must not be negative")
        require(0 <= self.hang_rate <= 1, "faults.hang_rate must be between 0 and 1")
        unknown = sorted(set(self.errors) - set(FAULT_KINDS))
        require(not unknown, f"faults.errors: unknown kind {unknown}; known are {sorted(FAULT_KINDS)}")
        require(all(rate >= 0 for rate in self.errors.values()), "faults.errors: a rate must not be negative")
        require(sum(self.errors.values()) <= 1, "faults.errors: the rates must not sum above 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolValues:
    """What arguments of simulated tool calls look like, where their schema leaves it open.

    The names, meanings and defaults of llm-d-inference-sim's `--max-tool-call-integer-param` and the others;
    `optional_param_rate` is for parameters that are not required, `optional_field_rate` for fields inside.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    integer_min: int = 0
    integer_max: int = 100
    number_min: float = 0.0
    number_max: float = 100.0
    array_min: int = 1
    array_max: int = 5
    optional_param_rate: float = 0.5
    optional_field_rate: float = 0.5

    def __post_init__(self) -> None:
        for kind in ("integer", "number", "array"):
            low, high = getattr(self, f"{kind}_min"), getattr(self, f"{kind}_max")
            require(low <= high, f"tools.{kind}_min must not be above {kind}_max")
        require(self.array_min >= 0, "tools.array_min must not be negative")
        require(self.array_max <= 1000, "tools.array_max must be at most 1000")
        for name in ("optional_param_rate", "optional_field_rate"):
            require(0 <= getattr(self, name) <= 1, f"tools.{name} must be between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Omni:
    """A model that also gives images: one after the text, for the share `image_rate` or when asked for."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = False
    image_rate: float = 0.0
    image_ms: float = 0.0
    image_std_ms: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.image_rate <= 1, "omni.image_rate must be between 0 and 1")
        require_deviation(self, "image_ms", "image_std_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """A whole simulated llm-d.

    `time_scale` is how many simulated seconds pass in one second of the server: everything, latencies,
    timeouts and reported durations, is then that much shorter. `seed` decides every draw.
    `tool_call_rate` is how often `tool_choice: auto` leads to a call. `dialect` says whose servers the
    replicas are: with sglang a higher body `priority` is earlier. `rank` numbers the first replica in
    metrics. `fake_metrics` stand for vLLM's real ones, recalculated every `fake_metrics_interval_s`.
    `body_mb_max` bounds a body: a million-token prompt is 4 MiB of text, a few images in base64 come to 20.
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
    tools: ToolValues = field(default_factory=ToolValues)
    omni: Omni = field(default_factory=Omni)
    fake_metrics: FakeMetrics | None = None
    fake_metrics_interval_s: float = 0.1
    dialect: Dialect = "vllm"
    rank: int = 0
    hash_seed: str = ""
    sleep_mode: bool = False
    per_request_metrics: bool = False
    body_mb_max: int = 20

    def __post_init__(self) -> None:
        require(bool(self.models), "models must name at least one model")
        names = [name for model in self.models for name in model.names]
        require(len(set(names)) == len(names), "models: a name, alias or LoRA adapter is used twice")
        require(self.time_scale > 0, "time_scale must be above 0")
        require(0 <= self.tool_call_rate <= 1, "tool_call_rate must be between 0 and 1")
        require(1 <= self.embedding_dimensions <= 8192, "embedding_dimensions must be between 1 and 8192")
        require(self.startup_s >= 0, "startup_s must not be negative")
        require(self.fake_metrics_interval_s > 0, "fake_metrics_interval_s must be above 0")
        require(0 <= self.rank <= 7, "rank must be between 0 and 7")
        require(1 <= self.body_mb_max <= 512, "body_mb_max must be between 1 and 512")

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
