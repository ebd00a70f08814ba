"""Command-line flags to `SimConfig`. Pure: the command reads files and the environment.

Names, units and defaults of the compat mode are those of llm-d-inference-sim v0.10.2 for the flags that
both have. A flag that was not given is None and leaves the preset, the file or the hardware as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from controller.llmd.sim.admin import failure_rates
from controller.llmd.sim.config import (
    CompatLatency,
    EngineConfig,
    Faults,
    ModelConfig,
    RouterConfig,
    SimConfig,
    SimConfigError,
    preset,
)
from controller.llmd.sim.intent import go_duration_s
from controller.llmd.sim.presets import HARDWARE

DEFAULT_PRESET: Final = "llmd-demo"
COMPAT_CONTEXT, COMPAT_SEQUENCES, COMPAT_WAITING = 1024, 5, 1000
"""llm-d-inference-sim's defaults for max-model-len, max-num-seqs and max-waiting-queue-length."""

_LATENCY_MS: Final = {
    "time_to_first_token": "ttft_ms",
    "time_to_first_token_std_dev": "ttft_std_ms",
    "inter_token_latency": "itl_ms",
    "inter_token_latency_std_dev": "itl_std_ms",
    "prefill_overhead": "prefill_overhead_ms",
    "prefill_time_per_token": "prefill_token_ms",
    "prefill_time_std_dev": "prefill_std_ms",
}
LATENCY_FLAGS: Final = tuple(_LATENCY_MS)
"""The flags whose values are durations of the compat formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """What was given on the command line; None and empty mean not given. Durations are text."""

    preset: str | None = None
    document: str | None = None
    seed: int | None = None
    time_scale: float | None = None
    mode: str | None = None
    lengths: str | None = None
    tool_call_rate: float | None = None
    model: str | None = None
    served_model_name: Sequence[str] = ()
    hardware: str | None = None
    replicas: int | None = None
    slowdown: float | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    max_waiting_queue_length: int | None = None
    scheduling_policy: str | None = None
    enable_kvcache: bool | None = None
    kv_cache_size: int | None = None
    block_size: int | None = None
    latency_calculator: str | None = None
    latencies: Mapping[str, str | None] | None = None
    time_factor_under_load: float | None = None
    failure_injection_rate: float | None = None
    failure_types: Sequence[str] = ()
    router: bool | None = None
    router_version: str | None = None
    flow_control: bool | None = None
    startup_duration: str | None = None
    default_embedding_dimensions: int | None = None
    enable_request_id_headers: bool | None = None
    pod: str = ""
    namespace: str = ""


def config_from_flags(flags: Flags) -> SimConfig:
    """Return the configuration that the flags ask for. Raise `SimConfigError`."""
    from controller.llmd.sim.document import config_from

    base = _base(flags)
    engine = {
        "seqs_max": flags.max_num_seqs,
        "batched_tokens_max": flags.max_num_batched_tokens,
        "context_max": flags.max_model_len,
        "waiting_max": flags.max_waiting_queue_length,
        "scheduling": flags.scheduling_policy,
        "prefix_caching": flags.enable_kvcache,
        "kv_blocks": flags.kv_cache_size,
        "block_tokens": flags.block_size,
        "slowdown": flags.slowdown,
    }
    latency = _latency(flags)
    models = tuple(
        replace(
            model,
            engine=_engine(
                model.engine, {name: value for name, value in engine.items() if value is not None}, latency
            ),
            replicas=model.replicas if flags.replicas is None else flags.replicas,
        )
        for model in base.models
    )
    changes: dict[str, Any] = {
        "models": models,
        "seed": flags.seed,
        "time_scale": flags.time_scale,
        "mode": flags.mode,
        "lengths": flags.lengths or ("llm-d-sim" if latency else None),
        "tool_call_rate": flags.tool_call_rate,
        "embedding_dimensions": flags.default_embedding_dimensions,
        "request_id_headers": flags.enable_request_id_headers,
        "startup_s": duration_ms(flags.startup_duration) / 1000 if flags.startup_duration else None,
        "pod": flags.pod or None,
        "namespace": flags.namespace or None,
        "router": _router(flags, base),
        "faults": _faults(flags, base),
    }
    changed = replace(base, **{name: value for name, value in changes.items() if value is not None})
    from dataclasses import asdict

    return config_from(SimConfig, asdict(changed))


def duration_ms(text: str) -> float:
    """Return milliseconds of a Go duration such as `12ms`, or of a bare number of them."""
    try:
        return float(text)
    except ValueError:
        seconds = go_duration_s(text)
    if seconds is None:
        raise SimConfigError(f"{text!r} is no duration: write 250ms, 1.5s, or a number of milliseconds")
    return seconds * 1000


def _base(flags: Flags) -> SimConfig:
    """The file, or the preset, or one model on one kind of hardware."""
    if sum(source is not None for source in (flags.document, flags.preset, flags.model)) > 1:
        raise SimConfigError("give one of --config, --preset and --model, not several")
    if flags.document is not None:
        return SimConfig.from_yaml(flags.document)
    if flags.model is None:
        return preset(flags.preset or DEFAULT_PRESET)
    hardware = flags.hardware or "8b-h100"
    if hardware not in HARDWARE:
        raise SimConfigError(f"unknown hardware {hardware!r}; known are {sorted(HARDWARE)}")
    names = tuple(flags.served_model_name) or (flags.model,)
    return SimConfig(models=(ModelConfig(name=names[0], aliases=names[1:], engine=HARDWARE[hardware]),))


def _latency(flags: Flags) -> CompatLatency | None:
    """The compat formula when any of its flags was given."""
    given = {name: text for name, text in (flags.latencies or {}).items() if text is not None}
    if not given and flags.latency_calculator is None and flags.time_factor_under_load is None:
        return None
    if flags.latency_calculator not in {None, "", "constant", "per-token"}:
        raise SimConfigError("latency-calculator must be constant or per-token")
    return CompatLatency(
        calculator="per-token" if flags.latency_calculator == "per-token" else "constant",
        factor_under_load=flags.time_factor_under_load or 1.0,
        **{_LATENCY_MS[name]: duration_ms(text) for name, text in given.items()},
    )


def _engine(engine: EngineConfig, changes: dict[str, Any], latency: CompatLatency | None) -> EngineConfig:
    if latency is not None:
        defaults = {
            "seqs_max": COMPAT_SEQUENCES,
            "context_max": COMPAT_CONTEXT,
            "waiting_max": COMPAT_WAITING,
            "overhead_ms": 0.0,
        }
        changes = defaults | changes | {"latency": latency}
    if "seqs_max" in changes and "batched_tokens_max" not in changes:
        changes = changes | {"batched_tokens_max": max(engine.batched_tokens_max, changes["seqs_max"])}
    if {"kv_blocks", "block_tokens"} & set(changes) and "context_max" not in changes:
        size = changes.get("kv_blocks", engine.kv_blocks) * changes.get("block_tokens", engine.block_tokens)
        changes = changes | {"context_max": min(engine.context_max, size)}
    return replace(engine, **changes)


def _router(flags: Flags, base: SimConfig) -> RouterConfig:
    changes: dict[str, Any] = {
        "enabled": flags.router,
        "version": flags.router_version,
        "flow_control": flags.flow_control,
    }
    return replace(base.router, **{name: value for name, value in changes.items() if value is not None})


def _faults(flags: Flags, base: SimConfig) -> Faults:
    if flags.failure_injection_rate is None:
        return base.faults
    return replace(base.faults, errors=failure_rates(flags.failure_injection_rate, list(flags.failure_types)))
