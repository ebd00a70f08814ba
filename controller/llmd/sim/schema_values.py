"""Values that fit a JSON Schema, for simulated tool calls and structured answers. Pure and total.

Covers what tools use: types, enum, const, properties, items, bounds, anyOf/oneOf/allOf, local $ref. An
unknown or contradictory schema gives some value rather than an error: models do the same.
"""

from __future__ import annotations

from typing import Any, Final

from controller.llmd.sim.draws import integer, uniform
from controller.llmd.sim.text import words

_DEPTH_MAX: Final = 8
"""Recursive schemas end here; tool arguments nest two or three deep."""
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
    """Draws values by seed and key; the same pair gives the same values."""

    def __init__(self, seed: int, key: str, root: Any) -> None:
        self._seed = seed
        self._key = key
        self._root = root

    def value(self, schema: Any, path: str = "", depth: int = 0) -> Any:
        """Return a value for `schema`."""
        schema = self._resolved(schema)
        if not isinstance(schema, dict) or depth > _DEPTH_MAX:
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
                count = min(max(_number(schema.get("minItems"), 1), 1), 8)
                return [
                    self.value(schema.get("items", {}), f"{path}/{i}", depth + 1) for i in range(int(count))
                ]
            case "integer":
                return int(self._number(schema, path))
            case "number":
                return round(self._number(schema, path), 2)
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
        return {
            name: self.value(inner, f"{path}/{name}", depth + 1)
            for name, inner in properties.items()
            if name in wanted
            or (depth < 3 and uniform(self._seed, "optional", f"{self._key}{path}/{name}") < 0.5)
        }

    def _string(self, schema: dict[str, Any], path: str) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = "".join(words(self._seed, self._key + path, 3)).replace(".", "").strip().lower()
        longest = int(_number(schema.get("maxLength"), 64))
        return text[: max(longest, 0)].ljust(min(int(_number(schema.get("minLength"), 0)), 1024), "x")

    def _number(self, schema: dict[str, Any], path: str) -> float:
        low = _number(schema.get("minimum", schema.get("exclusiveMinimum")), 1)
        high = _number(schema.get("maximum", schema.get("exclusiveMaximum")), low + 99)
        if "exclusiveMinimum" in schema:
            low += 1
        if "exclusiveMaximum" in schema:
            high -= 1
        return low + self._pick(path, max(int(high - low), 0) + 1)

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
    return (
        value
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
        else default
    )
