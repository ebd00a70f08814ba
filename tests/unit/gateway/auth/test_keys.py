"""API keys: who is let in, as whom, and what a wrong key learns."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest

from gateway.auth import keys as module
from gateway.auth.keys import LOCAL, KeyRing, Principal
from gateway.kernel.errors import UnauthorizedError
from gateway.kernel.types import EVERY_TENANT, Tenant

BOT = Principal("bot", "acme", actions=("support.*", "llm.chat_completion"))
RING = KeyRing([("sha256:" + sha256(b"secret").hexdigest(), BOT)])


def test_without_keys_everybody_is_the_local_operator() -> None:
    """An empty ring asks for nothing and lets read everything."""
    ring = KeyRing([])
    assert not ring
    assert ring.principal(None) is LOCAL
    assert LOCAL.scope == EVERY_TENANT
    assert LOCAL.may("anything.at_all")


@pytest.mark.parametrize("header", ["Bearer secret", "bearer secret", "BEARER   secret "])
def test_the_holder_of_a_key(header: str) -> None:
    """The scheme's case and spaces do not matter; the token does."""
    assert RING
    assert RING.principal(header) is BOT
    assert BOT.scope == Tenant("acme")


@pytest.mark.parametrize("header", [None, ""])
def test_no_key(header: str | None) -> None:
    """Without a credential the answer says which is wanted."""
    with pytest.raises(UnauthorizedError) as caught:
        RING.principal(header)
    assert caught.value.code == "AUTH_REQUIRED"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer Secret", "Basic secret", "secret", "Bearer sec ret", "Bearer \udcff"],
)
def test_a_wrong_key(header: str) -> None:
    """Every wrong credential gets the same words, with nothing of it or of a right one."""
    with pytest.raises(UnauthorizedError) as caught:
        RING.principal(header)
    assert (caught.value.code, caught.value.message) == ("AUTH_INVALID_KEY", "the API key is not valid")


@pytest.mark.parametrize("header", ["Bearer secret", "Bearer wrong"])
def test_known_and_unknown_keys_take_the_same_path(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A constant-time comparison decides both for a key that is there and for one that is not."""
    compared = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(module, "hmac", type("spied", (), {"compare_digest": staticmethod(spy)}))
    try:
        RING.principal(header)
    except UnauthorizedError:
        assert header == "Bearer wrong"
    assert compared == [(64, 64)]


@pytest.mark.parametrize(
    ("action_type", "covered"),
    [
        ("support.refund", True),
        ("llm.chat_completion", True),
        ("llm.embedding", False),
        ("Support.refund", False),
    ],
)
def test_what_a_key_covers(action_type: str, covered: bool) -> None:
    """Patterns are shell-style and mind the case."""
    assert BOT.may(action_type) is covered
