"""Operators: the people who approve or deny, each with a key that no agent has.

An API key of the data plane is never one, and the configuration refuses a hash that is both.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.auth.keys import KeyRing, Principal
from gateway.kernel.errors import ForbiddenError


class OperatorRing:
    """The configured operators. Without any, nobody approves over HTTP."""

    def __init__(self, operators: Sequence[tuple[str, str]]) -> None:
        """Take `(name, hash)` pairs; a hash is `sha256:<hex>` of the key's bytes."""
        self._ring = KeyRing([(digest, Principal(name, None, operator=True)) for name, digest in operators])

    def operator(self, authorization: str | None) -> str:
        """Return the name of who holds the bearer token. Raises UnauthorizedError or ForbiddenError."""
        if not self._ring:
            raise ForbiddenError(
                "no operators are configured, so nobody may approve here",
                hint="add one under `operators`, or use `lumyn approvals` on the gateway's machine",
            )
        return self._ring.principal(authorization).name
