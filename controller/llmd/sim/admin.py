"""`/admin/config`: what is in force, and changes to the faults. Pure.

Takes the fields of `config.Faults` (`model` limits a change to one model), and the names that
llm-d-inference-sim takes at run time: `failure-injection-rate` (0 to 100) with `failure-types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from controller.llmd.sim.config import FAULT_KINDS, Faults, SimConfig, SimConfigError, as_json

_FAULTS = TypeAdapter(Faults)


def shown(config: SimConfig, faults: Mapping[str, Faults]) -> dict[str, Any]:
    """Return the configuration, with the faults in force by model."""
    return as_json(config) | {
        "faults": {model: asdict(replace(each, model=model)) for model, each in faults.items()}
    }


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
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise SimConfigError("failure-injection-rate must be between 0 and 100")
    names = list(kinds or FAULT_KINDS)
    return {str(name): percent / 100 / len(names) for name in names}


def _validated(data: dict[str, Any]) -> Faults:
    try:
        return _FAULTS.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise SimConfigError(f"{where}: {first['msg'].lower()}") from error
