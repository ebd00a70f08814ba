"""`requestState`: what the gateway must know when a held call comes back, sealed into the client's own hands.

AES-256-GCM (NIST SP 800-38D) under a key derived by HKDF-SHA256 from the configured secret. Who asked, which
server and tool, and the digest of the arguments are bound as associated data: a state that is presented for
another call, by another principal or at another server does not open. It is single-use because its number
becomes the idempotency key of the decision that it leads to, and the store has each key once.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.kernel.bounds import MCP_STATE_CHARS_MAX
from gateway.kernel.errors import ProtocolError
from gateway.kernel.types import JSON, JSONObject

PREFIX: Final = "lumyn.1."
"""What is sealed here begins so, and whatever begins so must open: a server's own state is never tried."""
OWN_KEYS: Final = "lumyn."
"""What the names of our questions in `inputRequests` begin with."""
NONCE_BYTES: Final = 12
KEY_CHARS_MIN: Final = 32
"""256 bits in hex are 64, in base64 43; a shorter secret is a password."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a state is good for, and nothing else."""

    principal: str
    tenant: str | None
    server: str
    tool: str
    arguments_digest: str

    def bytes(self) -> bytes:
        """Return it as associated data: JSON, so that no two bindings share a spelling."""
        return orjson.dumps(
            [PREFIX, self.principal, self.tenant, self.server, self.tool, self.arguments_digest]
        )


@dataclass(frozen=True, slots=True)
class Held:
    """A call that was held, as it is to go on."""

    decision_id: str
    """The decision that held it."""
    expires_ms: int
    asked: tuple[str, ...] = ()
    """Evidence keys that the client was asked for: only these are taken from its answer."""
    answers: JSONObject = field(default_factory=dict)
    """Evidence from rounds before."""
    carried: JSONObject = field(default_factory=dict)
    """`requestState` and `inputResponses` that belong to the server, as JSON text by name."""
    released: bool = False
    """The gate has let it pass: what comes back is the server's own next round of the same call."""


class Sealer:
    """Seals and opens states under one secret."""

    __slots__ = ("_aead",)

    def __init__(self, secret: bytes) -> None:
        key = HKDF(SHA256(), 32, salt=None, info=b"lumyn mcp requestState v1").derive(secret)
        self._aead = AESGCM(key)

    def seal(self, held: Held, binding: Binding, nonce: bytes) -> str:
        """Return the token. `nonce` is random and used once; it is also the number of the state."""
        text = orjson.dumps(
            {
                "decision": held.decision_id,
                "expires": held.expires_ms,
                "asked": held.asked,
                "answers": held.answers,
                "carried": held.carried,
                "released": held.released,
            }
        )
        sealed = nonce + self._aead.encrypt(nonce, text, binding.bytes())
        return PREFIX + urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, token: str, binding: Binding, *, now_ms: int) -> tuple[Held, str]:
        """Return what a token holds, and its number. ProtocolError where it is not ours, of another call, or old.

        The client learns no more than that it is invalid or expired.
        """
        sealed = _decoded(token)
        try:
            text = self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], binding.bytes())
        except (InvalidTag, ValueError):
            raise refused_state() from None
        held = _read(orjson.loads(text))
        if held.expires_ms <= now_ms:
            raise refused_state()
        return held, sealed[:NONCE_BYTES].hex()


def is_ours(state: JSON) -> bool:
    """Tell whether a `requestState` claims to be of this gateway."""
    return isinstance(state, str) and state.startswith(PREFIX)


def refused_state() -> ProtocolError:
    """Return the one error for every state that is not taken."""
    return ProtocolError("Invalid or expired requestState", code="MCP_STATE_INVALID")


def _decoded(token: str) -> bytes:
    body = token.removeprefix(PREFIX)
    if not is_ours(token) or len(token) > MCP_STATE_CHARS_MAX or not token.isascii():
        raise refused_state()
    try:
        sealed = b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
    except Base64Error:
        raise refused_state() from None
    if urlsafe_b64encode(sealed).rstrip(b"=").decode() != body:
        # Another spelling of the same bytes would be another token under the same number.
        raise refused_state()
    return sealed


def _read(value: JSONObject) -> Held:
    return Held(
        decision_id=value["decision"],
        expires_ms=value["expires"],
        asked=tuple(value["asked"]),
        answers=value["answers"],
        carried=value["carried"],
        released=value["released"],
    )
