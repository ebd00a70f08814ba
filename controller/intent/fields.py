"""Reading plain data field by field: every problem is noted with its pointer, none is raised.

A reader for one mapping. It knows nothing of intents; it must never guess a value for a wrong one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from controller.intent.types import IntentProblem

_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")
_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def escaped(token: str) -> str:
    """Return a key as one step of an RFC 6901 pointer."""
    return token.replace("~", "~0").replace("/", "~1")


class Fields:
    """One mapping under inspection. Ask for each known field once, then call `finish`."""

    __slots__ = ("_data", "_known", "pointer", "problems")

    def __init__(self, data: Any, pointer: str, problems: list[IntentProblem]) -> None:
        self.pointer = pointer
        self.problems = problems
        self._known: set[str] = set()
        self._data: Mapping[Any, Any] = data if isinstance(data, Mapping) else {}
        if not isinstance(data, Mapping):
            self.problem(f"expected a mapping, found {_kind(data)}")

    def at(self, name: str) -> str:
        """Return the pointer of a field."""
        return f"{self.pointer}/{escaped(name)}"

    def problem(self, message: str, name: str | None = None) -> None:
        """Note a problem with this mapping or one of its fields."""
        self.problems.append(IntentProblem(message, self.pointer if name is None else self.at(name)))

    def take(self, name: str) -> Any:
        """Return a field as it is, or None where it is absent or null."""
        self._known.add(name)
        return self._data.get(name)

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self._data.get(name) is not None

    def sub(self, name: str) -> Fields | None:
        """Return a nested mapping, or None where it is absent."""
        value = self.take(name)
        return None if value is None else Fields(value, self.at(name), self.problems)

    def text(self, name: str, *, chars_max: int = 256) -> str | None:
        """Return a non-empty string, or None."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= chars_max:
            self.problem(f"expected text of 1 to {chars_max} characters, found {_kind(value)}", name)
            return None
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a finite number in [low, high], or None."""
        value = self.take(name)
        if value is None:
            return None
        # bool is an int in Python; a YAML `true` is no number
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.problem(f"expected a number, found {_kind(value)}", name)
            return None
        if not low <= value <= high:
            self.problem(f"{value:g} is outside {low:g} to {high:g}", name)
            return None
        return float(value)

    def whole(self, name: str, low: int, high: int) -> int | None:
        """Return a whole number in [low, high], or None."""
        value = self.number(name, low, high)
        if value is None:
            return None
        if value != int(value):
            self.problem(f"expected a whole number, found {value:g}", name)
            return None
        return int(value)

    def flag(self, name: str) -> bool:
        """Return a boolean; absent is False."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            self.problem(f"expected true or false, found {_kind(value)}", name)
            return False
        return bool(value)

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        """Return one of `allowed`, or None."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str) or value not in allowed:
            self.problem(f"expected one of {', '.join(sorted(allowed))}; found {_kind(value)}", name)
            return None
        return value

    def duration_s(self, name: str) -> float | None:
        """Return a duration such as `30s`, `5m`, `1h` or `1d` in seconds, or None."""
        value = self.take(name)
        if value is None:
            return None
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.problem(f"expected a duration such as 30s, 5m, 1h or 1d; found {_kind(value)}", name)
            return None
        seconds = float(found[1]) * _UNIT_S[found[2]]
        if seconds <= 0:
            self.problem("a window of no length holds nothing: give a duration above 0", name)
            return None
        return seconds

    def texts(self, name: str, allowed: Collection[str] | None = None) -> tuple[str, ...] | None:
        """Return a list of different strings (each one of `allowed`, if given), or None."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            self.problem(f"expected a list, found {_kind(value)}", name)
            return None
        items: list[str] = []
        for index, item in enumerate(value):
            if not isinstance(item, str) or not item:
                self.problem(f"expected text, found {_kind(item)}", f"{name}/{index}")
            elif allowed is not None and item not in allowed:
                self.problem(f"expected one of {', '.join(sorted(allowed))}; found {item!r}", name)
            elif item in items:
                self.problem(f"{item!r} stands here twice", name)
            else:
                items.append(item)
        return tuple(items)

    def finish(self) -> None:
        """Note every field that nobody asked for: a misspelt one must not be ignored silently."""
        for name in self._data:
            if name not in self._known:
                self.problem(f"unknown field; known here: {', '.join(sorted(self._known))}", str(name))


def _kind(value: object) -> str:
    """Name what was found, short, for a message."""
    if value is None or isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) or value is None else f"{value}"
    if isinstance(value, str):
        return repr(value[:40])
    return "a mapping" if isinstance(value, Mapping) else f"a {type(value).__name__}"
