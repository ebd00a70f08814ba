"""One MCP message as it stands in the body of a POST: a request, a notification or a response (JSON-RPC 2.0).

A message that two readers could take for two different ones is refused here: duplicate keys at any level,
arrays (no revision that is spoken here has batches), null and fractional ids, a method beside a result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, TypeAlias

import orjson

from gateway.kernel.errors import InvalidRequestError, ProtocolError
from gateway.kernel.parse import parse_tool_json
from gateway.kernel.types import JSON, JSONObject
from gateway.wire.spans import members, value_of

CALL: Final = "tools/call"
LIST: Final = "tools/list"
INITIALIZE: Final = "initialize"
LISTEN: Final = "subscriptions/listen"

RpcId: TypeAlias = int | str
_ARGUMENTS: Final = "/params/arguments"
_METHOD_CHARS_MAX: Final = 256
"""Methods are short paths; a longer one is no method of anybody's."""
_ID_CHARS_MAX: Final = 256
"""UUIDs have 36; an id goes back into every answer."""


class Kind(Enum):
    """What a message is."""

    REQUEST = auto()
    NOTIFICATION = auto()
    RESPONSE = auto()


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has been read. `params` are empty where it has none."""

    kind: Kind
    method: str
    """Empty for a response."""
    id: RpcId | None
    params: JSONObject = field(default_factory=dict)
    ambiguous: str | None = None
    """A pointer into arguments that hold a key twice or nest too deep: such a call never goes on."""

    @property
    def meta(self) -> JSONObject:
        """`params._meta`; empty where there is none."""
        meta = self.params.get("_meta")
        return meta if isinstance(meta, dict) else {}


def read_message(body: bytes) -> Message:
    """Return the message of a body.

    MalformedRequestError for what is no JSON, ProtocolError for what is no single message. Of both, and of
    what comes later, `id_of` says which id an answer bears.
    """
    ambiguous = None
    try:
        value = parse_tool_json(body)
    except InvalidRequestError as error:
        ambiguous = error.pointer
        if ambiguous is None or not ambiguous.startswith(f"{_ARGUMENTS}/") or _twins_above(body):
            raise ProtocolError(error.message) from None
        value = orjson.loads(body)
    return _message(value, ambiguous)


def id_of(body: bytes) -> RpcId | None:
    """Return the id of what may be no message, as far as it has one that can be answered."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if _is_id(found) else None


def _twins_above(body: bytes) -> bool:
    """Tell whether the message itself, or its `params`, holds a key twice."""
    text = body.decode()
    params = value_of(text, "params") or "{}"
    return any(len({span.key for span in spans}) != len(spans) for spans in (members(text), members(params)))


def _message(value: JSON, ambiguous: str | None) -> Message:
    if isinstance(value, list):
        raise ProtocolError("a body holds one message: batches are not part of this protocol")
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise ProtocolError("the body is no JSON-RPC 2.0 message")
    if "id" in value and not _is_id(value["id"]):
        raise ProtocolError("`id` must be a short string or a whole number")
    if "method" not in value:
        return _response(value)
    if "result" in value or "error" in value:
        raise ProtocolError("a message is a request or a response, and this one is both")
    method = value["method"]
    if not isinstance(method, str) or not 0 < len(method) <= _METHOD_CHARS_MAX:
        raise ProtocolError("`method` must be a short string")
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError("`params` must be an object", code="MCP_PARAMS_INVALID")
    if "id" in value:
        return Message(Kind.REQUEST, method, value["id"], params, ambiguous)
    if not method.startswith("notifications/"):
        # A server might carry out a request that asks for no answer; nobody would ever learn of it.
        raise ProtocolError("a request needs an `id`")
    return Message(Kind.NOTIFICATION, method, None, params)


def _response(value: JSONObject) -> Message:
    if "id" not in value or ("result" in value) == ("error" in value):
        raise ProtocolError("the body is neither a request nor a notification nor a response")
    return Message(Kind.RESPONSE, "", value["id"])


def _is_id(value: JSON) -> bool:
    if isinstance(value, str):
        return len(value) <= _ID_CHARS_MAX
    return isinstance(value, int) and not isinstance(value, bool)
