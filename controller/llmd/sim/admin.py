"""`/admin/config`: what is in force, and what a change would make of it. Pure.

Takes the fields of `config.Faults` (`model` limits those to one model), and the names that
llm-d-inference-sim takes at run time: `failure-injection-rate` (0 to 100) with `failure-types`, the latency
fields (in compat mode; the transfer's always), `fake-metrics` (when it was started with some) and
`image-emission-rate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from controller.llmd.sim.config import FAULT_KINDS, Faults, ModelConfig, SimConfig, as_json
from controller.llmd.sim.engine_config import CompatLatency, KvTransfer, SimConfigError
from controller.llmd.sim.fake_metrics import FakeMetrics
from controller.llmd.sim.latency_fields import (
    LATENCY_FIELDS,
    TRANSFER_MS,
    changed_latency,
    changed_transfer,
)

_FAULTS = TypeAdapter(Faults)


@dataclass(frozen=True, slots=True)
class Changes:
    """A change that was found valid: what holds after it, and the latencies when they change."""

    config: SimConfig
    faults: Mapping[str, Faults]
    fake: FakeMetrics | None
    latency: tuple[CompatLatency | None, KvTransfer] | None = None


def shown(config: SimConfig, faults: Mapping[str, Faults], fake: FakeMetrics | None = None) -> dict[str, Any]:
    """Return the configuration, with the faults in force by model."""
    by_model = {model: asdict(replace(each, model=model)) for model, each in faults.items()}
    return as_json(replace(config, fake_metrics=fake)) | {"faults": by_model}


def planned(
    config: SimConfig, faults: Mapping[str, Faults], fake: FakeMetrics | None, data: dict[str, Any]
) -> Changes:
    """Return what `data` would change. Raise `SimConfigError`, and then nothing changes."""
    rest = dict(data)
    latencies = {name: rest.pop(name) for name in LATENCY_FIELDS & rest.keys()}
    if rest.get("fake-metrics") is not None:
        if fake is None:
            raise SimConfigError("the simulator is reporting real metrics; fake metrics cannot be updated")
        fake = fake.changed(rest["fake-metrics"])
    rest.pop("fake-metrics", None)
    if "image-emission-rate" in rest:
        rate = _percent("image-emission-rate", rest.pop("image-emission-rate"))
        config = replace(config, omni=replace(config.omni, image_rate=rate))
    changed = changed_faults(faults, rest) if rest else {}
    if not latencies:
        return Changes(config, changed, fake)
    config = _with_latencies(config, latencies)
    engine = config.models[0].engine
    return Changes(config, changed, fake, (engine.latency, engine.transfer))


def _with_latencies(config: SimConfig, given: dict[str, Any]) -> SimConfig:
    """Return the configuration with these latencies in every model."""
    if any(model.engine.latency is None for model in config.models) and given.keys() - TRANSFER_MS.keys():
        message = "is of the compat formula: start with --latency-calculator, or change slowdown instead"
        raise SimConfigError(f"{min(given)} {message}")

    def changed(model: ModelConfig) -> ModelConfig:
        engine = model.engine
        latency = None if engine.latency is None else changed_latency(engine.latency, given)
        transfer = changed_transfer(engine.transfer, given)
        return replace(model, engine=replace(engine, latency=latency, transfer=transfer))

    return replace(config, models=tuple(changed(model) for model in config.models))


def changed_faults(present: Mapping[str, Faults], data: dict[str, Any]) -> dict[str, Faults]:
    """Return the new faults of every model that `data` speaks of. Raise `SimConfigError`."""
    changes = dict(data)
    model = changes.pop("model", "")
    if model and model not in present:
        raise SimConfigError(f"model: unknown {model!r}; known are {sorted(present)}")
    if "failure-injection-rate" in changes or "failure-types" in changes:
        changes["errors"] = failure_rates(
            changes.pop("failure-injection-rate", 100), changes.pop("failure-types", None)
        )
    return {
        name: _validated(asdict(faults) | changes | {"model": ""})
        for name, faults in present.items()
        if not model or name == model
    }


def failure_rates(percent: Any, kinds: Any) -> dict[str, float]:
    """Return the rate of each kind: `percent` of requests fail, by `kinds` evenly; none given means all."""
    share = _percent("failure-injection-rate", percent)
    if kinds is not None and not isinstance(kinds, list | tuple):
        raise SimConfigError("failure-types must be a list of names")
    names = list(kinds or FAULT_KINDS)
    return {str(name): share / len(names) for name in names}


def _percent(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise SimConfigError(f"{name} must be between 0 and 100")
    return value / 100


def _validated(data: dict[str, Any]) -> Faults:
    try:
        return _FAULTS.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise SimConfigError(f"{where}: {first['msg'].lower()}") from error
