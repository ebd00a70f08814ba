"""The classes of an external gateway's traffic: who asks, under which intent, with which key and targets.

Without a file the three classes of `world`, all with the key of OPENAI_API_KEY and `x-lumyn-intent` naming
the class. A file is YAML or JSON: a list under `classes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from controller.evaluate.world import Kind
from controller.intent import Intent, Latency
from gateway.kernel.errors import InvalidPolicyError
from gateway.policy.document import read_document
from loadtest import world

CLASSES_MAX: Final = 20
_Seconds = Annotated[float, Field(gt=0, le=3600)]


class ClassesError(ValueError):
    """The file is not a list of classes; the message says where."""


class Entry(BaseModel):
    """One class as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    share: Annotated[float, Field(gt=0, le=1)]
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """What it asks for; else `--model`."""
    intent: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Sent as x-lumyn-intent; else the key decides."""
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "OPENAI_API_KEY"
    """The variable that holds its API key."""
    ttft_s: _Seconds | None = None
    e2e_s: _Seconds | None = None


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a run, and the headers that each sends; under the empty name those of tool actions."""

    kinds: tuple[Kind, ...]
    headers: Mapping[str, Mapping[str, str]]


def default_entries() -> tuple[Entry, ...]:
    """Return the three classes of the simulated stage."""
    return tuple(
        Entry(name=part.name, share=part.share, intent=part.name, ttft_s=part.ttft_s, e2e_s=part.e2e_s)
        for part in world.PARTS
    )


def read_entries(path: Path) -> tuple[Entry, ...]:
    """Return the classes of a file. Raise ClassesError, OSError."""
    try:
        value: Any = read_document(path.read_bytes(), source=str(path)).value
    except InvalidPolicyError as error:
        raise ClassesError(f"{path}: {error.problems[0]}") from None
    listed = value.get("classes") if isinstance(value, dict) else None
    try:
        entries = TypeAdapter(
            Annotated[tuple[Entry, ...], Field(min_length=1, max_length=CLASSES_MAX)]
        ).validate_python(listed)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in ("classes", *first["loc"]))
        raise ClassesError(f"{path}: {where}: {first['msg'].lower()}") from None
    if len({entry.name for entry in entries}) != len(entries):
        raise ClassesError(f"{path}: classes: two have the same name")
    if abs(sum(entry.share for entry in entries) - 1.0) > 1e-6:
        raise ClassesError(f"{path}: classes: the shares sum to {sum(e.share for e in entries):g}, not to 1")
    return entries


def classes_of(entries: tuple[Entry, ...], model: str, environment: Mapping[str, str]) -> Classes:
    """Return the classes for a gateway that serves `model`; a variable that is not set sends no key."""
    kinds, headers = [], {}
    for entry in entries:
        latency = Latency(
            ttft_ms=None if entry.ttft_s is None else 1000 * entry.ttft_s,
            e2e_ms=None if entry.e2e_s is None else 1000 * entry.e2e_s,
        )
        intent = Intent(name=entry.name, latency=latency, models=(entry.model or model,))
        kinds.append(Kind(entry.name, entry.share, intent))
        own = {} if entry.intent is None else {"x-lumyn-intent": entry.intent}
        if key := environment.get(entry.key_env, ""):
            own["authorization"] = f"Bearer {key}"
        headers[entry.name] = own
    if key := environment.get("OPENAI_API_KEY", ""):
        headers[""] = {"authorization": f"Bearer {key}"}
    return Classes(tuple(kinds), headers)
