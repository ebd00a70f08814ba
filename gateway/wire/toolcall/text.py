"""Reading the JSON of answers, refused where two readers could differ, and mending single places of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import orjson

from gateway.kernel.errors import RequestError
from gateway.kernel.parse import parse_loose_json
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.spans import items, members, with_value
from gateway.wire.toolcall.call import Fault, UnreadableError

_NO_OBJECT: Final[JSONObject] = {}


def read_object(data: bytes) -> JSONObject:
    """Return the object that the data of an event, or a body, says. Raises UnreadableError.

    Keys that occur twice are refused at every level: readers differ in which one counts.
    """
    try:
        value = parse_loose_json(data, unique_everywhere=True)
    except RequestError:
        raise UnreadableError(Fault.UNREADABLE) from None
    if not isinstance(value, dict):
        raise UnreadableError(Fault.UNREADABLE)
    return value


def object_at(value: JSONObject, key: str) -> JSONObject:
    """Return a member that is an object, or an empty one where it is null or not there. UnreadableError."""
    found = value.get(key)
    if found is None:
        return _NO_OBJECT
    if not isinstance(found, dict):
        raise UnreadableError(Fault.UNREADABLE)
    return found


def objects_at(value: JSONObject, key: str) -> Sequence[JSONObject]:
    """Return a member that is a list of objects, or none where it is null or not there. UnreadableError."""
    found = value.get(key)
    if found is None:
        return ()
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UnreadableError(Fault.UNREADABLE)
    return found


def whole_at(value: JSONObject, key: str, default: int) -> int:
    """Return a member that is a place in a list. UnreadableError for anything else that is there."""
    found = value.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise UnreadableError(Fault.UNREADABLE)
    return found


def text_at(value: JSONObject, key: str) -> str:
    """Return a member that is text, empty where it is something else."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def json_text(value: JSON) -> str:
    """Return a value of ours as JSON text."""
    return orjson.dumps(value).decode()


def mended(text: str, path: Sequence[str | int], change: Callable[[str], str]) -> str:
    """Return JSON text with the value at `path` replaced by what `change` makes of it, and no other byte.

    A member that is not there is made of `null`; raises KeyError where the way to it is not there.
    """
    if not path:
        return change(text)
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        start, end = items(text)[step]
    else:
        span = next((span for span in members(text) if span.key == step), None)
        if span is None:
            if rest:
                raise KeyError(step)
            return with_value(text, step, change("null"))
        start, end = span.start, span.end
    return text[:start] + mended(text[start:end], rest, change) + text[end:]


def replaced(text: str, path: Sequence[str | int], value: str) -> str:
    """Return JSON text with another value at `path`; as `mended`."""
    return mended(text, path, lambda _: value)


def value_text(text: str, path: Sequence[str | int]) -> str:
    """Return the value at `path` as it is written. Raises KeyError or IndexError where there is none."""
    for step in path:
        if isinstance(step, int):
            start, end = items(text)[step]
        else:
            span = next((span for span in members(text) if span.key == step), None)
            if span is None:
                raise KeyError(step)
            start, end = span.start, span.end
        text = text[start:end]
    return text
