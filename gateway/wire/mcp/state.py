"""`requestState`: what the gateway must know when a held call comes back, sealed into the client's own hands.

AES-256-GCM (NIST SP 800-38D) under a key derived by HKDF-SHA256 from the configured secret. Who asked, and
which server and tool, are bound as associated data: a state that another principal presents, or that is
presented for another tool, does not open. The digest of the call stands inside, so that a call that has
changed is told so. That a state is used once is the store's business: its number is claimed in the commit.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import asdict, dataclass, field
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
"""What is sealed here begins so, and whatever begins so must open: no server is ever shown it."""
OWN_KEYS: Final = "lumyn."
"""What the names of our questions in `inputRequests` begin with."""
NONCE_BYTES: Final = 12
SECRET_CHARS_MIN: Final = 32
"""256 bits are 43 characters of base64 or 64 of hex; a shorter secret is a password."""


@dataclass(frozen=True, slots=True)
class Binding:
    """Who a state is for, and at which tool; it is good for nobody and nothing else."""

    principal: str
    tenant: str | None
    server: str
    tool: str

    def data(self) -> bytes:
        """Return it as associated data: JSON, so that no two bindings share a spelling."""
        return orjson.dumps([PREFIX, self.principal, self.tenant, self.server, self.tool])


@dataclass(frozen=True, slots=True)
class Held:
    """A call that was held, as it is to go on."""

    decision_id: str
    """The decision that held it."""
    arguments_digest: str
    expires_ms: int
    approval_id: str | None = None
    """The approval that it waits for."""
    asked: tuple[str, ...] = ()
    """Evidence that the client was asked for: nothing else is taken from its answer."""
    answers: JSONObject = field(default_factory=dict)
    """Evidence from the rounds before."""
    rounds: int = 1
    """How often the client has been asked, this time included."""
    carried: JSONObject = field(default_factory=dict)
    """`requestState` and `inputResponses` that belong to the server, as JSON text by name."""
    released_under: str | None = None
    """The policy under which the gate let it pass: what comes back is the server's own next round."""


class Sealer:
    """Seals and opens states under one secret."""

    __slots__ = ("_aead",)

    def __init__(self, secret: bytes) -> None:
        key = HKDF(SHA256(), 32, salt=None, info=b"lumyn mcp requestState v1").derive(secret)
        self._aead = AESGCM(key)

    def seal(self, held: Held, binding: Binding, nonce: bytes) -> str:
        """Return the token. `nonce` is random and used once; it is also the number of the state.

        Raises ProtocolError where it would be over the bound, which a server's own large state can make it.
        """
        sealed = nonce + self._aead.encrypt(nonce, orjson.dumps(asdict(held)), binding.data())
        token = PREFIX + urlsafe_b64encode(sealed).rstrip(b"=").decode()
        if len(token) > MCP_STATE_CHARS_MAX:
            raise ProtocolError(
                f"the call carries more state than {MCP_STATE_CHARS_MAX} characters", code="MCP_STATE_INVALID"
            )
        return token

    def open(self, token: str, binding: Binding, *, now_ms: int) -> tuple[Held, str]:
        """Return what a token holds, and its number. Raises ProtocolError.

        A token that is forged, old, or another's is told apart by nobody.
        """
        sealed = _decoded(token)
        try:
            text = self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], binding.data())
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


def changed_call(held: Held, arguments_digest: str) -> ProtocolError:
    """Return the error of a call that is not the one that was held; both digests are named."""
    return ProtocolError(
        f"the requestState was given for other arguments: {held.arguments_digest}, "
        f"and these are {arguments_digest}",
        code="MCP_STATE_INVALID",
    )


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
    return Held(**{**value, "asked": tuple(value["asked"])})
