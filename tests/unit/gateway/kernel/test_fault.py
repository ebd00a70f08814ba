"""The root of the error tree."""

from __future__ import annotations

from gateway.kernel.fault import GatewayError


class TeapotError(GatewayError):
    """An error of a test."""

    default_code = "TEAPOT"
    status = 418


def test_a_code_of_its_own_stands_before_the_kinds() -> None:
    """An error is of its kind unless it says otherwise; what was not given is not there."""
    error = TeapotError("no coffee")
    assert (error.code, error.status, error.retryable, str(error)) == ("TEAPOT", 418, False, "no coffee")
    assert (error.pointer, error.hint, error.retry_after_s) == (None, None, None)
    told = TeapotError("no coffee", code="KETTLE", pointer="/cup", hint="ask for tea", retry_after_s=2.0)
    assert (told.code, told.pointer, told.hint, told.retry_after_s) == ("KETTLE", "/cup", "ask for tea", 2.0)
