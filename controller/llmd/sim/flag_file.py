"""A configuration file of llm-d-inference-sim, and its way to write flags, to `Flags`. Pure.

The file is a mapping of flag names, in its nested form too (`latencies:` and `kvcache:` around the flags of
each). On a command line a flag that takes several values takes all that follow it, and a switch may be
followed by true or false.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.options import Flags

SEVERAL: Final = ("served-model-name", "lora-modules", "failure-types")
"""Flags that take several values."""
SWITCHES: Final[Mapping[str, str]] = {
    "enable-kvcache": "disable-kvcache",
    "enable-prefix-caching": "no-enable-prefix-caching",
    "enable-sleep-mode": "no-enable-sleep-mode",
    "enable-request-id-headers": "disable-request-id-headers",
    "omni": "no-omni",
    "self-signed-certs": "no-self-signed-certs",
}
"""Switches, and what turns each off."""
_NESTED: Final = ("latencies", "kvcache")
_NAMES: Final = frozenset(field.name for field in fields(Flags))
_OTHERS: Final = {"data_parallel_size": "replicas", "enable_prefix_caching": "enable_kvcache"}


def is_flag_file(data: object) -> bool:
    """Tell whether a document is a mapping of flags: it names one `model`."""
    return isinstance(data, dict) and "model" in data and not {"models", "preset"} & data.keys()


def flags_from(data: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Return the flags of a file, and its port. Raise `SimConfigError` that names a key not offered here."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        inside = value if key in _NESTED else {key: value}
        if not isinstance(inside, dict):
            raise SimConfigError(f"{key} must be a mapping of flags")
        flat |= inside
    port = flat.pop("port", None)
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise SimConfigError("port must be a number")
    given: dict[str, Any] = {}
    for key, value in flat.items():
        name = str(key).replace("-", "_")
        name = _OTHERS.get(name, name)
        if name not in _NAMES:
            raise SimConfigError(f"{key} is not offered: leave it out")
        if value is not None:
            given[name] = _value(str(key), value)
    return given, port


def _value(key: str, value: Any) -> Any:
    """Return a value as the flag has it on a command line."""
    if key == "fake-metrics":
        if not isinstance(value, dict):
            raise SimConfigError("fake-metrics must be a mapping")
        loras = value.get("loras")
        if isinstance(loras, list):  # written as strings of JSON there
            value = value | {
                "loras": [orjson.loads(each) if isinstance(each, str) else each for each in loras]
            }
        return orjson.dumps(value).decode()
    if key in SEVERAL:
        several = value if isinstance(value, list) else [value]
        return [each if isinstance(each, str) else orjson.dumps(each).decode() for each in several]
    if isinstance(value, list | dict):
        raise SimConfigError(f"{key} must be one value")
    return value


def plain_arguments(arguments: Sequence[str]) -> list[str]:
    """Return command-line arguments as this command reads them: one value a flag, switches without one."""
    plain: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word[2:].partition("=")
        if not word.startswith("--"):
            plain.append(word)
        elif name in SEVERAL:
            values = [value] if equals else []
            while not equals and rest and not rest[0].startswith("--"):
                values.append(rest.pop(0))
            for each in values:
                plain += [f"--{name}", each]
        elif name in SWITCHES:
            said = (
                value if equals else rest.pop(0) if rest and rest[0].lower() in {"true", "false"} else "true"
            )
            plain.append(f"--{name if said.lower() in {'true', '1', 't'} else SWITCHES[name]}")
        else:
            plain.append(word)
    return plain
