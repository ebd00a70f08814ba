"""Fields of a JSON body, one by one: checked, bounded, or refused in vLLM's words. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

INPUTS_MAX: Final = 2048
"""OpenAI's bound on the inputs of one embeddings call, and ours on prompts of one completions call."""
STOPS_MAX: Final = 64
"""Stop strings of one request; OpenAI takes 4, vLLM any number."""


class ApiError(Exception):
    """An answer that is an error. `kind` is vLLM's error type; `plain` sends the message as text."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "BadRequestError",
        param: str | None = None,
        headers: dict[str, str] | None = None,
        plain: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.headers = headers or {}
        self.plain = plain

    def body(self) -> bytes:
        """Return the error object as JSON."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return orjson.dumps({"error": error})


def read_body(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"invalid JSON in the request body: {error}") from error
    if not isinstance(data, dict):
        raise ApiError(400, "the request body must be a JSON object")
    return data


def model_name(data: dict[str, Any]) -> str:
    """Return the model asked for."""
    model = data.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "model must be a non-empty string", param="model")
    return model


def check_sampling(data: dict[str, Any]) -> None:
    """Refuse sampling parameters out of range: they change nothing here, and would fail on the real one."""
    for name, low, high in (("temperature", 0.0, 100.0), ("top_p", 0.0, 1.0)):
        number(data, name, low, high)


def number(data: dict[str, Any], name: str, low: float, high: float) -> float | None:
    """Return a number within bounds; None when it is not there."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ApiError(
            400, f"{name} must be a number between {low:g} and {high:g}, got {value!r}", param=name
        )
    return value


def integer(data: dict[str, Any], name: str, low: int = -(2**63), high: int = 2**63) -> int | None:
    """Return an integer within bounds; None when it is not there."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ApiError(400, f"{name} must be an integer, got {value!r}", param=name)
    if value < low:
        raise ApiError(400, f"{name} must be at least {low}, got {value}.", param=name)
    if value > high:
        raise ApiError(400, f"{name} must be at most {high}, got {value}.", param=name)
    return value


def items(data: dict[str, Any], name: str, *, required: bool = False) -> list[Any]:
    """Return a list; empty when it is not there and need not be."""
    value = data.get(name)
    if value is None and not required:
        return []
    if not isinstance(value, list) or (required and not value):
        raise ApiError(400, f"{name} must be a {'non-empty ' if required else ''}list", param=name)
    return value


def inputs(value: Any, name: str) -> tuple[str | tuple[int, ...], ...]:
    """Return prompts: text, tokens, or a list of either, as a tuple of them."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or len(value) > INPUTS_MAX:
        message = f"{name} must be text, tokens, or a list of 1 to {INPUTS_MAX} of either"
        raise ApiError(400, message, param=name)
    if all(_is_token(item) for item in value):
        value = [value]
    found: list[str | tuple[int, ...]] = []
    for item in value:
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, list) and item and all(_is_token(token) for token in item):
            found.append(tuple(item))
        else:
            raise ApiError(400, f"{name} must hold text or non-empty lists of token ids", param=name)
    return tuple(found)


def stops(data: dict[str, Any]) -> tuple[str, ...]:
    """Return the stop strings."""
    value = data.get("stop")
    if value is None:
        return ()
    found = [value] if isinstance(value, str) else value
    if (
        not isinstance(found, list)
        or len(found) > STOPS_MAX
        or not all(isinstance(s, str) and s for s in found)
    ):
        raise ApiError(400, f"stop must be a non-empty string or a list of up to {STOPS_MAX}", param="stop")
    return tuple(found)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
