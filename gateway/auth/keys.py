"""API keys: who asks, for which tenant, and what the key covers.

Keys are kept as SHA-256 digests and compared in constant time. The keys are random (256 bits, from
`lumyn keys new` or any generator), so a slow hash would cost every request and protect nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Final

from gateway.kernel.errors import UnauthorizedError
from gateway.kernel.types import EVERY_TENANT, Scope, Tenant


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `actions` and `intents` are shell-style patterns of what the key covers."""

    name: str
    tenant: str | None
    actions: tuple[str, ...] = ("*",)
    intents: tuple[str, ...] = ("*",)
    operator: bool = False
    """May read every tenant's records: nobody else shares this gateway."""

    @property
    def scope(self) -> Scope:
        """Whose records this principal may read."""
        return EVERY_TENANT if self.operator else Tenant(self.tenant)

    def may(self, action_type: str) -> bool:
        """Tell whether the key covers an action type."""
        return any(pattern == "*" or fnmatchcase(action_type, pattern) for pattern in self.actions)


LOCAL: Final = Principal("local", None, operator=True)
"""Without configured keys everybody is this one principal, and the listener must be on loopback."""


class KeyRing:
    """The configured keys. An empty ring lets everybody in as `LOCAL`."""

    def __init__(self, keys: Sequence[tuple[str, Principal]]) -> None:
        """Take `(hash, principal)` pairs; a hash is `sha256:<hex>` of the key's bytes."""
        self._keys = tuple((digest.removeprefix("sha256:").encode(), principal) for digest, principal in keys)

    def __bool__(self) -> bool:
        """An empty ring asks for no credential."""
        return bool(self._keys)

    def principal(self, authorization: str | None) -> Principal:
        """Return who holds the bearer token. Raises UnauthorizedError, which never says how close it was."""
        if not self._keys:
            return LOCAL
        if not authorization:
            raise UnauthorizedError("no API key", hint="send `Authorization: Bearer <key>`")
        scheme, _, token = authorization.partition(" ")
        presented = sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest().encode()
        principal = None
        # Every key is compared, and to its end: the time taken tells nothing of which one was near.
        for digest, holder in self._keys:
            if hmac.compare_digest(digest, presented):
                principal = holder
        if scheme.lower() != "bearer" or principal is None:
            raise UnauthorizedError("the API key is not valid", code="AUTH_INVALID_KEY")
        return principal
