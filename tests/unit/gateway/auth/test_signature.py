"""The signing secret: the signature of the contract, and what a wrong one learns."""

from __future__ import annotations

import pytest

from gateway.auth.signature import SIGNED, check_signature, sign
from gateway.kernel.errors import UnauthorizedError
from gateway.kernel.types import EVERY_TENANT

SECRET = b"key"
BODY = b"The quick brown fox jumps over the lazy dog"
GOLDEN = "sha256:f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"


def test_a_golden_signature() -> None:
    """HMAC-SHA256 over the raw body, in lower-case hex (the vector of Wikipedia's page on HMAC)."""
    assert sign(SECRET, BODY) == GOLDEN
    assert check_signature(SECRET, BODY, f" {GOLDEN} ") is SIGNED
    assert SIGNED.scope == EVERY_TENANT


@pytest.mark.parametrize("presented", [None, "", "  "])
def test_no_signature(presented: str | None) -> None:
    """Absent and blank are the same: a signature is required."""
    with pytest.raises(UnauthorizedError) as caught:
        check_signature(SECRET, BODY, presented)
    assert caught.value.code == "AUTH_REQUIRED"


@pytest.mark.parametrize(
    "presented",
    [GOLDEN.upper(), GOLDEN[7:], GOLDEN[:-1], "sha512:" + GOLDEN[7:], "é", "\udcff", sign(b"k", BODY)],
)
def test_a_wrong_signature(presented: str) -> None:
    """Another prefix, case, length, secret or alphabet: refused alike, without a hint how close it was."""
    with pytest.raises(UnauthorizedError) as caught:
        check_signature(SECRET, BODY, presented)
    assert caught.value.code == "AUTH_INVALID_SIGNATURE"
    assert caught.value.hint is None


def test_another_body_needs_another_signature() -> None:
    """A signature holds for the very bytes it was made over."""
    with pytest.raises(UnauthorizedError):
        check_signature(SECRET, BODY + b" ", GOLDEN)
