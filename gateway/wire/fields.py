"""Fields of a request's body, checked: what is wrong, and where."""

from __future__ import annotations

from gateway.kernel.bounds import WHOLE_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.types import JSON, JSONObject


def is_count(value: JSON) -> bool:
    """Tell whether a value is a count that a record can hold exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= WHOLE_MAX


def missing(field: str) -> InvalidRequestError:
    """Return the error for a field that must be there."""
    return InvalidRequestError(f"`{field}` is required", pointer=f"/{field}")


def wrong(field: str, wanted: str) -> InvalidRequestError:
    """Return the error for a field that is something else than it must be."""
    return InvalidRequestError(f"`{field}` must be {wanted}", pointer=f"/{field}")


def required_text(value: JSONObject, field: str) -> str:
    """Return a text that must be there and say something."""
    if field not in value:
        raise missing(field)
    text = value[field]
    if not isinstance(text, str) or not text.strip():
        raise wrong(field, "a non-empty string")
    return text


def optional_bool(value: JSONObject, field: str) -> bool:
    """Return a flag; false where it is not there."""
    flag = value.get(field)
    if flag is None:
        return False
    if not isinstance(flag, bool):
        raise wrong(field, "true or false")
    return flag


def optional_list(value: JSONObject, field: str) -> list[JSON]:
    """Return a list; empty where it is not there."""
    items = value.get(field)
    if items is None:
        return []
    if not isinstance(items, list):
        raise wrong(field, "a list")
    return items


def optional_count(value: JSONObject, field: str) -> int | None:
    """Return a count above 0; None where it is not there."""
    count = value.get(field)
    if count is None:
        return None
    if not is_count(count) or count == 0:
        raise wrong(field, "a positive whole number")
    return int(count)
