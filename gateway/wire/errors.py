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
