"""The error bodies of each API: errors are made in one tree, and get the shape of the API they leave by."""

from __future__ import annotations

from typing import Final

import orjson

from gateway.kernel.errors import (
    ForbiddenError,
    GatewayError,
    MethodNotAllowedError,
    PendingError,
    RefusedError,
    UnauthorizedError,
)
from gateway.kernel.types import JSONObject
from gateway.wire.frames import make_frame
from gateway.wire.sse import error_event

_LOOK_AGAIN_S: Final = "5"


def error_headers(error: GatewayError) -> list[tuple[str, str]]:
    """Return the headers that tell a client whether and when to try again, and never more than we know.

    A 405 also names what is allowed (RFC 9110 15.5.6).
    """
    headers = [("x-should-retry", "true" if error.retryable else "false")]
    if isinstance(error, MethodNotAllowedError):
        headers.append(("allow", ", ".join(error.allowed)))
    if isinstance(error, PendingError):
        # Not a time to try again after, but to look again: the answer is a person's.
        headers += [("location", f"/v0/approvals/{error.approval_id}"), ("retry-after", _LOOK_AGAIN_S)]
    if error.retry_after_s is not None:
        seconds = max(error.retry_after_s, 0.001)
        headers.append(("retry-after", str(max(1, round(seconds)))))
        headers.append(("retry-after-ms", str(round(seconds * 1000))))
    return headers


def openai_error_body(error: GatewayError, request_id: str) -> bytes:
    """Return `{"error": {message, type, param, code}}`, as OpenAI's clients read it. The id is a header."""
    del request_id
    return orjson.dumps({"error": openai_error(error)})


def openai_error(error: GatewayError) -> JSONObject:
    """Return the inner error object, also for the event that ends a broken stream."""
    message = error.message if error.hint is None else f"{error.message}: {error.hint}"
    return {
        "message": message,
        "type": _openai_type(error),
        "param": dotted(error.pointer) if error.pointer else None,
        "code": _OPENAI_CODES.get(error.code, error.code),
    }


def openai_error_event(error: GatewayError) -> bytes:
    """Return the event that ends a stream of chat completions honestly: no `[DONE]` follows it."""
    return error_event(openai_error(error))


def response_error_event(error: GatewayError) -> bytes:
    """Return the `error` event of the Responses API.

    Its own fields stand beside an `error` object, which the official client takes for what it is and raises.
    """
    own = openai_error(error)
    return make_frame(orjson.dumps({"type": "error", **_without_type(own), "error": own}), "error")


def anthropic_error_body(error: GatewayError, request_id: str) -> bytes:
    """Return `{"type": "error", "error": {type, message}}`, as Anthropic's clients read it.

    The code and the parameter stand beside them: other clients of this gateway know both.
    """
    own = openai_error(error)
    inner = {"type": _anthropic_type(error), **_without_type(own)}
    return orjson.dumps({"type": "error", "error": inner, "request_id": request_id or None})


def anthropic_error_event(error: GatewayError) -> bytes:
    """Return the event that ends a stream of a message."""
    return make_frame(anthropic_error_body(error, ""), "error")


def _without_type(error: JSONObject) -> JSONObject:
    return {name: value for name, value in error.items() if name != "type"}


def v0_error_body(error: GatewayError, request_id: str) -> bytes:
    """Return the one JSON shape of `/v0` and `/admin`: `detail`, as in the contract, and its parts."""
    detail: object = error.message if error.hint is None else f"{error.message}: {error.hint}"
    if isinstance(error, UnauthorizedError):
        detail = {"reason_code": error.code}
    facts = error.facts if isinstance(error, RefusedError) else None
    body = {"detail": detail, "reason_code": error.code, "pointer": error.pointer, "request_id": request_id}
    return orjson.dumps(body | {**(facts or {})})


def dotted(pointer: str) -> str:
    """Return a JSON pointer in OpenAI's spelling for `param`: `/messages/0/role` is `messages[0].role`."""
    text = ""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        text += f"[{name}]" if name.isdigit() else f".{name}" if text else name
    return text


_OPENAI_CODES: Final = {"MODEL_NOT_FOUND": "model_not_found", "AUTH_INVALID_KEY": "invalid_api_key"}
"""Codes that clients of OpenAI test for by their own spelling."""


_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def _anthropic_type(error: GatewayError) -> str:
    usual = "invalid_request_error" if error.status < 500 else "api_error"
    return _ANTHROPIC_TYPES.get(error.status, usual)


def _openai_type(error: GatewayError) -> str:
    if isinstance(error, RefusedError):
        return "policy_denied"
    if isinstance(error, UnauthorizedError):
        return "authentication_error"
    if isinstance(error, ForbiddenError):
        return "permission_error"
    if error.status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if error.status < 500 else "server_error"
