"""A tool's arguments as flat evidence, where the configuration names the tool and no single arguments.

Members of the top level keep their names, those of an object one level below stand as `order.id`. What is
longer or deeper is content and no fact: it stands as its digest, an object, so that a rule that needs a text
or a number there finds neither and does not trust.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import orjson

from gateway.kernel.bounds import EVIDENCE_MEMBERS_MAX, EVIDENCE_TEXT_CHARS_MAX
from gateway.kernel.canon import sha256_digest
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import Unfit
from gateway.kernel.types import JSON, JSONObject

_PREFIX: Final = "arguments."
_LISTED_MAX: Final = 32
"""Items of a list that stands as it is: tags, recipients."""


def flattened(arguments: JSONObject, reserved: Collection[str]) -> JSONObject:
    """Return evidence made of arguments, as `parse_tool_json` reads them.

    A name in `reserved` gets `arguments.` before it: no argument may pass for what the gateway says.
    Raises InvalidRequestError where two arguments would get one name, or where there are too many.
    """
    evidence: JSONObject = {}
    for name, value in arguments.items():
        inner = value.items() if type(value) is dict else ()
        for key, item in ((name, value),) if not inner else ((f"{name}.{key}", item) for key, item in inner):
            own = f"{_PREFIX}{key}" if key in reserved else key
            if own in evidence:
                raise InvalidRequestError(
                    "two arguments have the same name when they are flattened", pointer=""
                )
            evidence[own] = _fact(item)
    if len(evidence) > EVIDENCE_MEMBERS_MAX:
        raise InvalidRequestError(
            f"more than {EVIDENCE_MEMBERS_MAX} arguments", pointer="", hint="map the ones that matter"
        )
    return evidence


def _fact(value: JSON) -> JSON:
    kind = type(value)
    if value is None or kind in {bool, int, float} or (kind is str and len(value) <= EVIDENCE_TEXT_CHARS_MAX):
        return value
    if kind is Unfit:
        return {"kind": "number"}
    if kind is list and len(value) <= _LISTED_MAX and all(_is_short(item) for item in value):
        return value
    name = "text" if kind is str else "array" if kind is list else "object"
    return {"kind": name, "digest": sha256_digest(orjson.dumps(value, default=lambda _: None))}


def _is_short(value: JSON) -> bool:
    return type(value) in {bool, int, float} or (type(value) is str and len(value) <= EVIDENCE_TEXT_CHARS_MAX)
