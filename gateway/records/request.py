"""DecisionRequests in: `decision_request.v0` checked by hand, because a schema library takes 50 times longer.

The shape is written down twice, here and in `schemas/decision_request.v0.json`; a test holds the two
together on generated requests. Nothing is filled in, dropped or changed: what was sent is what is
decided and recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gateway.kernel.amounts import is_amount
from gateway.kernel.bounds import AMOUNT_SCALE_MAX, WHOLE_MAX
from gateway.kernel.canon import is_plain, plain
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import parse_json
from gateway.kernel.pointer import join
from gateway.kernel.types import JSON, JSONObject

SCHEMA_VERSION: Final = "decision_request.v0"

# What is wrong: the path below the checked value, innermost step last, and why.
_Fault: TypeAlias = tuple[tuple[str | int, ...], str]
_Check: TypeAlias = Callable[[JSON], _Fault | None]

# \Z, not $: in Python $ lets one trailing newline through.
_ACTION_TYPE: Final = re.compile(r"[a-z0-9]+(?:\.[a-z0-9_]+)+\Z")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HINT: Final = "see schemas/decision_request.v0.json"


def read_request(data: bytes) -> JSONObject:
    """Parse and check a DecisionRequest. Errors as `parse_json` and `validate_request`."""
    return _checked(parse_json(data))


def validate_request(value: JSON) -> JSONObject:
    """Return `value` if it is a DecisionRequest; InvalidRequestError with a pointer and a sentence if not.

    A value with odd Python types in it (whole floats, tuples, enums) comes back as the plain copy that
    `parse_json` would have read. Members of open objects are not examined further: taking the request's
    digest does that.
    """
    return _checked(value if is_plain(value) else plain(value))


def _checked(value: JSON) -> JSONObject:
    fault = _REQUEST(value)
    if fault is not None:
        path, reason = fault
        pointer = join(path)
        raise InvalidRequestError(f"{pointer or 'the request'} {reason}", pointer=pointer, hint=_HINT)
    request: JSONObject = value
    return request


# --- checks: None where all is well --------------------------------------------------------------


def _wrong_type(value: JSON, wanted: str) -> _Fault:
    kind = {bool: "a boolean", str: "a string", list: "an array", dict: "an object", type(None): "null"}
    return (), f"must be {wanted}, not {kind.get(type(value), 'a number')}"


def _text(value: JSON) -> _Fault | None:
    return None if type(value) is str else _wrong_type(value, "a string")


def _filled(value: JSON) -> _Fault | None:
    if type(value) is not str:
        return _wrong_type(value, "a string")
    return None if value else ((), "must not be empty")


def _texts(value: JSON) -> _Fault | None:
    if type(value) is not list:
        return _wrong_type(value, "an array of strings")
    for index, item in enumerate(value):
        if type(item) is not str:
            return (index,), _wrong_type(item, "a string")[1]
    return None


def _flag(value: JSON) -> _Fault | None:
    return None if type(value) is bool else _wrong_type(value, "true or false")


def _open(value: JSON) -> _Fault | None:
    return None if type(value) is dict else _wrong_type(value, "an object")


def _amount(value: JSON) -> _Fault | None:
    # The usual amounts are told without making a decimal: from 1e-5 up a double has 22 places at most.
    if (type(value) is float and 1e-5 <= value <= WHOLE_MAX) or is_amount(value):
        return None
    if type(value) not in {int, float}:
        return _wrong_type(value, "a number")
    if value < 0:
        return (), "must not be negative"
    return (), f"must be a number up to 2**53-1 with at most {AMOUNT_SCALE_MAX} decimal places"


def _currency(value: JSON) -> _Fault | None:
    if type(value) is not str:
        return _wrong_type(value, "a string")
    return None if len(value) == 3 else ((), "must be a currency code of three characters, such as USD")


def _action_type(value: JSON) -> _Fault | None:
    if type(value) is not str:
        return _wrong_type(value, "a string")
    if _ACTION_TYPE.match(value):
        return None
    return (), "must be lower-case words joined by dots, such as support.refund"


def _digest(value: JSON) -> _Fault | None:
    if type(value) is not str:
        return _wrong_type(value, "a string")
    return None if _DIGEST.match(value) else ((), "must be sha256: and 64 lower-case hexadecimal digits")


def _one_of(*choices: str) -> _Check:
    allowed = frozenset(choices)
    listed = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"

    def check(value: JSON) -> _Fault | None:
        if type(value) is not str:
            return _wrong_type(value, listed)
        return None if value in allowed else ((), f"must be {listed}")

    return check


def _closed(fields: Mapping[str, _Check], required: tuple[str, ...] = ()) -> _Check:
    must = frozenset(required)

    def check(value: JSON) -> _Fault | None:
        if type(value) is not dict:
            return _wrong_type(value, "an object")
        if not must <= value.keys():
            return (next(name for name in required if name not in value),), "is required"
        for name, item in value.items():
            field = fields.get(name)
            if field is _text and type(item) is str:
                continue  # half of all fields: not worth a call
            if field is None:
                return _unknown(name, fields)
            fault = field(item)
            if fault is not None:
                return (name, *fault[0]), fault[1]
        return None

    return check


def _unknown(name: JSON, fields: Mapping[str, _Check]) -> _Fault:
    return (str(name),), f"is not a field of the contract; known here: {', '.join(fields)}"


def _context(value: JSON) -> _Fault | None:
    fault = _CONTEXT(value)
    if fault is not None:
        return fault
    if value["mode"] == "reference" and "ref" not in value:
        return ("ref",), "is required where context.mode is reference"
    if value["mode"] == "inline" and "inline" not in value:
        return ("inline",), "is required where context.mode is inline"
    return None


_MODE: Final = _one_of("enforce", "advisory")
_CONTEXT: Final = _closed(
    {
        "mode": _one_of("digest_only", "inline", "reference"),
        "digest": _digest,
        "ref": _closed({"kind": _text, "id": _text, "uri": _text}, ("kind", "id")),
        "inline": _open,
        "redaction": _closed({"profile": _text, "fields_removed": _texts}),
    },
    ("mode", "digest"),
)
_SUBJECT: Final = _closed(
    {
        "type": _one_of("service", "agent", "user", "job"),
        "id": _filled,
        "tenant_id": _text,
        "ip": _text,
        "user_agent": _text,
        "roles": _texts,
    },
    ("type", "id"),
)
_ACTION: Final = _closed(
    {
        "type": _action_type,
        "intent": _filled,
        "target": _closed({"system": _text, "resource_type": _text, "resource_id": _text}),
        "amount": _closed({"value": _amount, "currency": _currency}),
        "tags": _texts,
    },
    ("type", "intent"),
)
_REQUEST: Final = _closed(
    {
        "schema_version": _one_of(SCHEMA_VERSION),
        "request_id": _filled,
        "trace": _closed({"correlation_id": _text, "span_id": _text}),
        "tenant": _closed(
            {"tenant_id": _filled, "environment": _one_of("dev", "staging", "prod")}, ("tenant_id",)
        ),
        "subject": _SUBJECT,
        "action": _ACTION,
        "evidence": _open,
        "context": _context,
        "policy": _closed({"policy_id": _text, "policy_version": _text, "mode": _MODE}),
        "hints": _closed({"mode": _MODE, "dry_run": _flag}),
        "extensions": _open,
    },
    ("schema_version", "subject", "action", "context"),
)
