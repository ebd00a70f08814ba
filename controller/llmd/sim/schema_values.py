"""Values that fit a JSON Schema, for simulated tool calls and structured answers. Pure and total.

Covers what tools use: types, enum, const, properties, items, bounds, anyOf/oneOf/allOf, local $ref. An
unknown or contradictory schema gives some value rather than an error: models do the same.
"""

from __future__ import annotations

import math
from typing import Any, Final

from controller.llmd.sim.config import ToolValues
from controller.llmd.sim.draws import integer, uniform
from controller.llmd.sim.text import words

_DEPTH_MAX: Final = 8
"""Recursive schemas end here; tool arguments nest two or three deep."""
ITEMS_MAX: Final = 1000
"""Of one array, whatever its schema asks for."""
VALUES_MAX: Final = 4000
"""Of one call: nested arrays multiply."""
DEFAULT_BOUNDS: Final = ToolValues()
_FORMATS: Final = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T09:30:00Z",
    "time": "09:30:00Z",
    "email": "customer@example.com",
    "uri": "https://example.com/item",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "ipv4": "192.0.2.1",
}


class SchemaValues:
    """Draws values by seed and key; the same pair gives the same values.

    `bounds` says what is drawn where the schema leaves it open.
    """

    def __init__(self, seed: int, key: str, root: Any, bounds: ToolValues = DEFAULT_BOUNDS) -> None:
        self._seed = seed
        self._key = key
        self._root = root
        self._bounds = bounds
        self._left = VALUES_MAX

    def value(self, schema: Any, path: str = "", depth: int = 0) -> Any:
        """Return a value for `schema`."""
        schema = self._resolved(schema)
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEPTH_MAX or self._left < 0:
            return "value"
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return schema["enum"][self._pick(path, len(schema["enum"]))]
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(key), list) and schema[key]:
                return self.value(schema[key][0], path, depth + 1)
        return self._typed(schema, path, depth)

    def _typed(self, schema: dict[str, Any], path: str, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[0] if kind else "string"
        match kind:
            case "object":
                return self._object(schema, path, depth)
            case "array":
                count = self._length(schema, path)
                count = min(count, max(self._left, 0))
                return [self.value(schema.get("items", {}), f"{path}/{i}", depth + 1) for i in range(count)]
            case "integer":
                low, high = self._range(schema, self._bounds.integer_min, self._bounds.integer_max, 1)
                return math.ceil(low) + self._pick(path, max(math.floor(high) - math.ceil(low), 0) + 1)
            case "number":
                low, high = self._range(schema, self._bounds.number_min, self._bounds.number_max, 0.01)
                drawn = low + uniform(self._seed, "number", self._key + path) * max(high - low, 0.0)
                return min(max(round(drawn, 2), low), max(high, low))
            case "boolean":
                return uniform(self._seed, "boolean", self._key + path) < 0.5
            case "null":
                return None
            case _:
                return self._string(schema, path)

    def _object(self, schema: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        wanted = required if isinstance(required, list) else []
        bounds = self._bounds
        rate = bounds.optional_field_rate if depth else bounds.optional_param_rate
        return {
            name: self.value(inner, f"{path}/{name}", depth + 1)
            for name, inner in properties.items()
            if name in wanted
            or (depth < 3 and uniform(self._seed, "optional", f"{self._key}{path}/{name}") < rate)
        }

    def _string(self, schema: dict[str, Any], path: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = "".join(words(self._seed, self._key + path, 3)).replace(".", "").strip().lower()
        longest = int(_number(schema.get("maxLength"), 64))
        return text[: max(longest, 0)].ljust(min(int(_number(schema.get("minLength"), 0)), 1024), "x")

    def _length(self, schema: dict[str, Any], path: str) -> int:
        least, most = schema.get("minItems"), schema.get("maxItems")
        low = int(_number(least, self._bounds.array_min))
        high = int(_number(most, max(self._bounds.array_max, low)))
        low = min(max(low, 0), high) if least is None else max(low, 0)
        return min(low + self._pick(f"{path}/length", max(high - low, 0) + 1), ITEMS_MAX)

    def _range(self, schema: dict[str, Any], low: float, high: float, step: float) -> tuple[float, float]:
        """Return the bounds of a number: the schema's, and where it has one only, the other at a distance."""
        span = high - low
        least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
        most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
        if _is_number(least) or _is_number(above):
            low = max(_number(least, -math.inf), _number(above, -math.inf) + step)
            low += step if above is True else 0.0
            high = max(high, low + span) if low > high else high
        if _is_number(most) or _is_number(below):
            high = min(_number(most, math.inf), _number(below, math.inf) - step)
            high -= step if below is True else 0.0
            low = high - span if high < low and not (_is_number(least) or _is_number(above)) else low
        return low, high

    def _pick(self, path: str, count: int) -> int:
        return integer(self._seed, "pick", self._key + path) % count

    def _resolved(self, schema: Any) -> Any:
        """Follow local references, a bounded number of times."""
        for _ in range(_DEPTH_MAX):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return schema
            schema = self._root
            for part in reference[2:].split("/"):
                schema = schema.get(part, {}) if isinstance(schema, dict) else {}
        return {}


def _number(value: Any, default: float) -> float:
    return value if _is_number(value) else default


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
