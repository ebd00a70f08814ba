"""Command-line flags to `SimConfig`. Pure: the command reads files and the environment.

A flag that was not given is None and leaves the preset, the file or the hardware as it is. Any flag of the
compat formula replaces the step model by it, with llm-d-inference-sim's defaults.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any, Final

import orjson

from controller.llmd.sim.admin import failure_rates
from controller.llmd.sim.config import Faults, Lora, ModelConfig, SimConfig, preset
from controller.llmd.sim.engine_config import CompatLatency, EngineConfig, SimConfigError
from controller.llmd.sim.fake_metrics import FakeMetrics
from controller.llmd.sim.latency_fields import (
    FORMULA,
    LATENCY_MS,
    TRANSFER_MS,
    changed_latency,
    changed_transfer,
    duration_ms,
)
from controller.llmd.sim.options import Flags
from controller.llmd.sim.presets import HARDWARE

DEFAULT_PRESET: Final = "llmd-demo"
COMPAT: Final = {
    "seqs_max": 5,
    "context_max": 1024,
    "waiting_max": 1000,
    "kv_blocks": 1024,
    "prefix_caching": False,
    "overhead_ms": 0.0,
}
"""llm-d-inference-sim's defaults for its engine."""
_ENGINE: Final = {
    "seqs_max": "max_num_seqs",
    "batched_tokens_max": "max_num_batched_tokens",
    "context_max": "max_model_len",
    "waiting_max": "max_waiting_queue_length",
    "scheduling": "scheduling_policy",
    "prefix_caching": "enable_kvcache",
    "kv_blocks": "kv_cache_size",
    "block_tokens": "block_size",
    "slowdown": "slowdown",
    "hit_rate_min": "global_cache_hit_threshold",
    "max_loras": "max_loras",
    "max_cpu_loras": "max_cpu_loras",
}
_SIM: Final = {
    "seed": "seed",
    "time_scale": "time_scale",
    "mode": "mode",
    "lengths": "lengths",
    "tool_call_rate": "tool_call_rate",
    "embedding_dimensions": "default_embedding_dimensions",
    "request_id_headers": "enable_request_id_headers",
    "pod": "pod_name",
    "namespace": "pod_namespace",
    "dialect": "engine",
    "rank": "data_parallel_rank",
    "hash_seed": "hash_seed",
    "sleep_mode": "enable_sleep_mode",
    "per_request_metrics": "enable_per_request_metrics",
    "body_mb_max": "max_request_body_size_mb",
}
_TOOLS: Final = {
    "integer_max": "max_tool_call_integer_param",
    "integer_min": "min_tool_call_integer_param",
    "number_max": "max_tool_call_number_param",
    "number_min": "min_tool_call_number_param",
    "array_max": "max_tool_call_array_param_length",
    "array_min": "min_tool_call_array_param_length",
}


def config_from_flags(flags: Flags, document: str | None = None) -> SimConfig:
    """Return the configuration that the flags ask for, on top of a YAML document. Raise `SimConfigError`."""
    from controller.llmd.sim.document import config_from

    base = _base(flags, document)
    latencies = _latencies(flags)
    compat = any(name in latencies for name in (*LATENCY_MS, *FORMULA))
    engine = _given(flags, _ENGINE)
    if flags.lora_load_time is not None:
        engine["lora_load_ms"] = duration_ms(flags.lora_load_time)
    replicas = 1 if flags.data_parallel_rank is not None else flags.replicas
    models = tuple(
        replace(
            model,
            engine=_engine(model.engine, engine, latencies, compat=compat),
            replicas=model.replicas if replicas is None else replicas,
        )
        for model in base.models
    )
    changes = _given(flags, _SIM) | {"models": _with_loras(models, flags), "faults": _faults(flags, base)}
    if compat and flags.lengths is None:
        changes["lengths"] = "llm-d-sim"
    if flags.startup_duration is not None:
        changes["startup_s"] = duration_ms(flags.startup_duration) / 1000
    if flags.fake_metrics is not None:
        changes["fake_metrics"] = FakeMetrics.read(_json("fake-metrics", flags.fake_metrics))
    if flags.fake_metrics_refresh_interval is not None:
        changes["fake_metrics_interval_s"] = duration_ms(flags.fake_metrics_refresh_interval) / 1000
    routed = {"enabled": "router", "version": "router_version", "flow_control": "flow_control"}
    changes["router"] = _changed(base.router, _given(flags, routed))
    changes["tools"] = _changed(base.tools, _tools(flags))
    changes["omni"] = _changed(base.omni, _omni(flags))
    # the checks of types and literals are those of documents
    return config_from(SimConfig, asdict(replace(base, **changes)))


def _given(flags: Flags, names: dict[str, str]) -> dict[str, Any]:
    """Return the values of the flags that were given, by the field that each is for."""
    values = {field: getattr(flags, flag) for field, flag in names.items()}
    return {field: value for field, value in values.items() if value is not None}


def _changed(part: Any, changes: dict[str, Any]) -> Any:
    return replace(part, **changes) if changes else part


def _json(flag: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SimConfigError(f"--{flag}: {text[:80]!r} is no JSON: {error}") from error


def _base(flags: Flags, document: str | None) -> SimConfig:
    """The file, or the preset, or one model on one kind of hardware."""
    if sum(source is not None for source in (document, flags.preset, flags.model)) > 1:
        raise SimConfigError("give one of --config, --preset and --model, not several")
    if document is not None:
        return SimConfig.from_yaml(document)
    if flags.model is None:
        return preset(flags.preset or DEFAULT_PRESET)
    hardware = flags.hardware or "8b-h100"
    if hardware not in HARDWARE:
        raise SimConfigError(f"unknown hardware {hardware!r}; known are {sorted(HARDWARE)}")
    names = tuple(flags.served_model_name or ()) or (flags.model,)
    return SimConfig(models=(ModelConfig(name=names[0], aliases=names[1:], engine=HARDWARE[hardware]),))


def _latencies(flags: Flags) -> dict[str, Any]:
    """Return the latency fields that were given, by their names with hyphens."""
    names = {name: name.replace("-", "_") for name in (*LATENCY_MS, *TRANSFER_MS, *FORMULA)}
    return _given(flags, names)


def _engine(
    engine: EngineConfig, changes: dict[str, Any], latencies: dict[str, Any], *, compat: bool
) -> EngineConfig:
    if compat:
        latency = changed_latency(engine.latency or CompatLatency(), latencies)
        changes = COMPAT | changes | {"latency": latency}
    if "seqs_max" in changes and "batched_tokens_max" not in changes:
        changes = changes | {"batched_tokens_max": max(engine.batched_tokens_max, changes["seqs_max"])}
    if {"kv_blocks", "block_tokens"} & set(changes) and "context_max" not in changes:
        size = changes.get("kv_blocks", engine.kv_blocks) * changes.get("block_tokens", engine.block_tokens)
        changes = changes | {"context_max": min(engine.context_max, size)}
    return replace(engine, **changes, transfer=changed_transfer(engine.transfer, latencies))


def _with_loras(models: tuple[ModelConfig, ...], flags: Flags) -> tuple[ModelConfig, ...]:
    """Give each adapter to its base model, or to the first one when it names none."""
    served = list(models)
    for text in flags.lora_modules or ():
        given = _json("lora-modules", text)
        if not isinstance(given, dict) or not isinstance(given.get("name"), str):
            raise SimConfigError(f"--lora-modules: {text[:80]!r} is no object with a name")
        base = given.get("base_model_name") or served[0].name
        known = {name: index for index, model in enumerate(served) for name in (model.name, *model.aliases)}
        if flags.model is not None:
            known.setdefault(flags.model, 0)
        if base not in known:
            raise SimConfigError(f"unknown base model {base!r} for LoRA {given['name']!r}")
        model = served[known[base]]
        lora = Lora(name=given["name"], path=str(given.get("path") or ""))
        served[known[base]] = replace(model, loras=(*model.loras, lora))
    return tuple(served)


def _tools(flags: Flags) -> dict[str, Any]:
    changes = _given(flags, _TOOLS)
    for field, name in (
        ("optional_param_rate", "tool_call_not_required_param_probability"),
        ("optional_field_rate", "object_tool_call_not_required_field_probability"),
    ):
        percent = getattr(flags, name)
        if percent is not None:
            changes[field] = percent / 100
    return changes


def _omni(flags: Flags) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if flags.omni is not None:
        changes["enabled"] = flags.omni
    if flags.image_emission_rate is not None:
        changes["image_rate"] = flags.image_emission_rate / 100
    if flags.time_to_generate_image is not None:
        changes["image_ms"] = duration_ms(flags.time_to_generate_image)
    if flags.time_to_generate_image_std_dev is not None:
        changes["image_std_ms"] = duration_ms(flags.time_to_generate_image_std_dev)
    return changes


def _faults(flags: Flags, base: SimConfig) -> Faults:
    if flags.failure_injection_rate is None:
        return base.faults
    kinds = list(flags.failure_types or ())
    return replace(base.faults, errors=failure_rates(flags.failure_injection_rate, kinds))


FLAG_NAMES: Final = frozenset(field.name.replace("_", "-") for field in fields(Flags))
"""Every flag, as it is written in a file of llm-d-inference-sim."""
