"""The signing secret: who holds it runs the service that asks, and signs each body (contract, A 11)."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

from gateway.auth.keys import Principal
from gateway.kernel.errors import UnauthorizedError

SIGNATURE_HEADER: Final = "x-lumyn-signature"
SIGNED: Final = Principal("signed", None, operator=True)


def sign(secret: bytes, body: bytes) -> str:
    """Return the value of `x-lumyn-signature` for a body: `sha256:<hex HMAC-SHA256>`."""
    return "sha256:" + hmac.new(secret, body, sha256).hexdigest()


def check_signature(secret: bytes, body: bytes, presented: str | None) -> Principal:
    """Return who signed. Raises UnauthorizedError, which never says how close the signature was."""
    text = (presented or "").strip()
    if not text:
        raise UnauthorizedError("no signature", hint="send x-lumyn-signature: sha256:<hmac of the body>")
    if not hmac.compare_digest(sign(secret, body).encode(), text.encode("utf-8", "surrogateescape")):
        raise UnauthorizedError("the signature does not fit the body", code="AUTH_INVALID_SIGNATURE")
    return SIGNED
