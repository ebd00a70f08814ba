"""Errors in the shape of the API they leave by."""

from __future__ import annotations

import orjson
import pytest

from gateway.kernel.errors import (
    ForbiddenError,
    GatewayError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    RefusedError,
    StoreBusyError,
    UnauthorizedError,
    UpstreamTimeoutError,
)
from gateway.wire.errors import dotted, error_headers, openai_error, openai_error_body, v0_error_body


def busy_for(seconds: float) -> StoreBusyError:
    """An error that may be retried after a while."""
    return StoreBusyError("x", retry_after_s=seconds)


class RateError(GatewayError):
    """A status that the tree has no class for yet."""

    status = 429


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RefusedError("no"), "policy_denied"),
        (UnauthorizedError("no"), "authentication_error"),
        (ForbiddenError("no"), "permission_error"),
        (RateError("no"), "rate_limit_error"),
        (InvalidRequestError("no"), "invalid_request_error"),
        (NotFoundError("no"), "invalid_request_error"),
        (UpstreamTimeoutError("no"), "server_error"),
        (StoreBusyError("no"), "server_error"),
        (InternalError(), "server_error"),
    ],
)
def test_the_type_follows_the_class(error: GatewayError, kind: str) -> None:
    """OpenAI's clients tell errors apart by `type`: each class of ours has its own."""
    assert openai_error(error)["type"] == kind


def test_openai_bodies_have_their_four_fields() -> None:
    """Message with hint, type, param in OpenAI's spelling, and code."""
    error = InvalidRequestError("`role` is wrong", pointer="/messages/0/role", hint="send a string")
    assert orjson.loads(openai_error_body(error, "r")) == {
        "error": {
            "message": "`role` is wrong: send a string",
            "type": "invalid_request_error",
            "param": "messages[0].role",
            "code": "INVALID_REQUEST_SCHEMA",
        },
    }
    bare = openai_error(NotFoundError("no such model", code="MODEL_NOT_FOUND"))
    assert (bare["message"], bare["param"], bare["code"]) == ("no such model", None, "model_not_found")
    assert openai_error(UnauthorizedError("no", code="AUTH_INVALID_KEY"))["code"] == "invalid_api_key"


def test_v0_bodies_have_the_shape_of_the_contract() -> None:
    """`detail` is text, and an object with the reason code where a credential is wrong."""
    error = InvalidRequestError("is wrong", pointer="/a", hint="mend it")
    assert orjson.loads(v0_error_body(error, "r")) == {
        "detail": "is wrong: mend it",
        "reason_code": "INVALID_REQUEST_SCHEMA",
        "pointer": "/a",
        "request_id": "r",
    }
    assert orjson.loads(v0_error_body(NotFoundError("gone"), "r"))["detail"] == "gone"
    assert orjson.loads(v0_error_body(UnauthorizedError("no"), "r"))["detail"] == {
        "reason_code": "AUTH_REQUIRED"
    }


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ("", ""),
        ("/model", "model"),
        ("/messages/0/role", "messages[0].role"),
        ("/a~1b/c~0d", "a/b.c~d"),
        ("/0", "[0]"),
    ],
)
def test_pointers_are_written_with_dots(pointer: str, text: str) -> None:
    """Indices in brackets, names with dots, escapes undone."""
    assert dotted(pointer) == text


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (NotFoundError("x"), {"x-should-retry": "false"}),
        (MethodNotAllowedError(["GET", "POST"]), {"x-should-retry": "false", "allow": "GET, POST"}),
        (StoreBusyError("x"), {"x-should-retry": "true"}),
        (busy_for(0.25), {"x-should-retry": "true", "retry-after": "1", "retry-after-ms": "250"}),
        (busy_for(0), {"x-should-retry": "true", "retry-after": "1", "retry-after-ms": "1"}),
        (busy_for(7), {"x-should-retry": "true", "retry-after": "7", "retry-after-ms": "7000"}),
    ],
)
def test_headers_say_whether_and_when_to_retry(error: GatewayError, headers: dict[str, str]) -> None:
    """Never a delay that we do not know, and never zero."""
    assert dict(error_headers(error)) == headers
