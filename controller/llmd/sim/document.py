"""YAML text to `SimConfig`: bounded, without aliases, with errors that name the key.

The file is the operator's own; the bounds keep a mistaken one (a log, a dump) from being composed.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from controller.llmd.sim.config import SimConfig, preset
from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.presets import HARDWARE

YAML_CHARS_MAX: Final = 256 * 1024
"""A cluster of a hundred models is 40 kB."""
YAML_DEPTH_MAX: Final = 16
"""The keys of a configuration nest five deep."""

_Config = TypeVar("_Config", bound=SimConfig)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, bounded in depth, without aliases: a few of them can stand for gigabytes."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not supported: write the value out")
        self.depth += 1
        if self.depth > YAML_DEPTH_MAX:
            raise yaml.YAMLError(f"nested more than {YAML_DEPTH_MAX} deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def load_yaml(text: str) -> Any:
    """Return what a YAML document holds. Raise `SimConfigError`."""
    if len(text) > YAML_CHARS_MAX:
        raise SimConfigError(f"the document is over {YAML_CHARS_MAX} characters: is it the right file?")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: TID251, S506 - a safe loader; gateway is out of reach here
    except yaml.YAMLError as error:
        raise SimConfigError(f"the document is no YAML: {error}") from error


def read_config(cls: type[_Config], text: str) -> _Config:
    """Return the configuration that `text` describes. Raise `SimConfigError`."""
    data = load_yaml(text)
    if not isinstance(data, dict):
        raise SimConfigError("the document must be a mapping with the keys of SimConfig, such as models")
    return config_from(cls, data)


def config_from(cls: type[_Config], data: dict[str, Any]) -> _Config:
    """Return the configuration that plain JSON types describe. Raise `SimConfigError`."""
    merged = dict(data)
    if "preset" in merged:
        merged = asdict(preset(str(merged.pop("preset")))) | merged
    models = merged.get("models")
    if isinstance(models, list | tuple):
        merged["models"] = [_with_hardware(model) for model in models]
    try:
        return TypeAdapter(cls).validate_python(merged)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise SimConfigError(f"{where}: {first['msg'].lower()}") from error


def _with_hardware(model: object) -> object:
    """Fill a model's engine from the hardware it names; what stands in the document wins."""
    if not isinstance(model, dict) or "hardware" not in model:
        return model
    rest = {key: value for key, value in model.items() if key != "hardware"}
    name = str(model["hardware"])
    if name not in HARDWARE:
        raise SimConfigError(f"models.hardware: unknown {name!r}; known are {sorted(HARDWARE)}")
    engine = rest.get("engine") or {}
    if not isinstance(engine, dict):
        raise SimConfigError("models.engine must be a mapping")
    return rest | {"engine": asdict(HARDWARE[name]) | engine}
