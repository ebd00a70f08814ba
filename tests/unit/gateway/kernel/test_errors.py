"""The error tree: stable codes, honest statuses, and messages in the house's voice."""

from __future__ import annotations

import pytest

from gateway.kernel import errors
from gateway.kernel.errors import (
    ClaimTakenError,
    DuplicateKeyError,
    GatewayError,
    InternalError,
    InvalidPolicyError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotTrustedError,
    Problem,
    RequestError,
    SetupError,
    StoreError,
    UpstreamError,
    UpstreamOpenError,
)

TREE = [GatewayError]
for _kind in TREE:
    # The library's own error for callers is no part of the map, and here only if something imported it.
    TREE += [kind for kind in _kind.__subclasses__() if kind.__module__ == errors.__name__]
SPECIAL = {
    ClaimTakenError: ClaimTakenError("used", "01"),
    DuplicateKeyError: DuplicateKeyError("01"),
    InvalidPolicyError: InvalidPolicyError([Problem("x")]),
    InternalError: InternalError(),
    MethodNotAllowedError: MethodNotAllowedError(["GET"]),
    NotTrustedError: NotTrustedError(
        {
            "decision_id": "01",
            "verdict": "QUERY",
            "reason_codes": ["POLICY_DENIED"],
            "request": {"action": {"type": "demo.act"}},
        }
    ),
}


def made(kind: type[GatewayError]) -> GatewayError:
    """Make an error of a kind."""
    return SPECIAL[kind] if kind in SPECIAL else kind("wrong")


@pytest.mark.parametrize("kind", TREE)
def test_every_error_stands_in_the_map(kind: type[GatewayError]) -> None:
    """The module's drawing of the tree names each class and, where it has one, its default code."""
    text = errors.__doc__ or ""
    assert kind.__name__ in text
    if kind.default_code not in {"SETUP", "POLICY_DENIED"}:
        assert kind.default_code in text


@pytest.mark.parametrize("kind", TREE)
def test_statuses_tell_whose_fault_it_is(kind: type[GatewayError]) -> None:
    """4xx where the caller can mend it, 503 for the store, 502 and 504 for backends, else 500.

    A backend that was not even tried is 503: nothing of it is broken that we know of.
    """
    error = made(kind)
    if issubclass(kind, RequestError):
        assert 400 <= error.status < 500
        assert not error.retryable, "the same request would be refused again"
    elif issubclass(kind, StoreError):
        assert error.status == 503
        assert error.retryable
    elif issubclass(kind, UpstreamError):
        assert error.status in ({503} if issubclass(kind, UpstreamOpenError) else {502, 504})
    elif issubclass(kind, SetupError):
        assert error.status == 500
    assert error.code == error.default_code
    assert str(error) == error.message


def test_what_an_error_carries() -> None:
    """A code of its own, a pointer, a hint and a time to come again."""
    error = InvalidRequestError("wrong", code="X", pointer="/a", hint="mend it", retry_after_s=2.0)
    assert (error.code, error.reason_code, error.pointer, error.hint) == ("X", "X", "/a", "mend it")
    assert error.retry_after_s == 2.0
    assert isinstance(error, ValueError), "the library's contract"


def test_only_what_was_never_sent_may_be_retried_blindly() -> None:
    """Of backend errors those that say that nothing left are retryable, and no others."""
    kinds = [kind for kind in TREE if issubclass(kind, UpstreamError)]
    assert [kind.__name__ for kind in kinds if made(kind).retryable] == [
        "UpstreamUnreachableError",
        "UpstreamBusyError",
        "UpstreamOpenError",
        "UpstreamConnectTimeoutError",
    ]
    assert all(made(kind).retryable is not kind.sent for kind in kinds)


def test_a_policy_error_lists_every_problem_with_its_place() -> None:
    """One line a problem, with line and column where there are any, and the file in the hint."""
    error = InvalidPolicyError([Problem("bad", 3, 7), Problem("worse")], source="p.yml")
    assert error.message == "invalid policy:\n- line 3, column 7: bad\n- worse"
    assert "p.yml" in (error.hint or "")


def test_an_internal_error_says_nothing_of_its_cause() -> None:
    """Its words are fixed."""
    assert InternalError().message == "internal error"


def test_a_duplicate_key_names_its_decision() -> None:
    """The store's word for a twin carries who holds the key."""
    assert DuplicateKeyError("01X").decision_id == "01X"
