"""Sealed states: what was sealed opens for the same call, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kernel.bounds import MCP_STATE_CHARS_MAX
from gateway.kernel.errors import ProtocolError
from gateway.wire.mcp.state import PREFIX, Binding, Held, Sealer, changed_call, is_ours

SEALER = Sealer(b"0123456789abcdef0123456789abcdef")
BINDING = Binding("support-bot", "acme", "shop", "refund")
HELD = Held(
    decision_id="01ARZ3NDEKTSV4RRFFQ69G5FAV",
    arguments_digest="sha256:" + "a" * 64,
    expires_ms=2_000,
    approval_id="01ARZ3NDEKTSV4RRFFQ69G5FAW",
    asked=("order_id", "who"),
    answers={"order_id": "O1", "n": 5, "ok": True, "x": 1.5},
    rounds=2,
    carried={"requestState": '"theirs"', "inputResponses": '{"q":{"action":"accept"}}'},
    released_under="sha256:" + "b" * 64,
)
NONCE = bytes(range(12))
TOKEN = SEALER.seal(HELD, BINDING, NONCE)


def test_a_state_opens_as_it_was_sealed() -> None:
    """Every member comes back, and its number is that of its nonce."""
    assert SEALER.open(TOKEN, BINDING, now_ms=1_999) == (HELD, NONCE.hex())
    assert is_ours(TOKEN)
    assert Sealer(b"0123456789abcdef0123456789abcdef").open(TOKEN, BINDING, now_ms=0)[0] == HELD


@pytest.mark.parametrize(
    "change",
    [{"principal": "other"}, {"tenant": None}, {"tenant": "zeta"}, {"server": "bank"}, {"tool": "pay"}],
)
def test_a_state_is_good_for_one_binding(change: dict[str, str | None]) -> None:
    """Another principal, tenant, server or tool cannot open it."""
    with pytest.raises(ProtocolError):
        SEALER.open(TOKEN, replace(BINDING, **change), now_ms=0)


def test_no_two_bindings_are_spelled_alike() -> None:
    """What separates the parts cannot stand in them."""
    assert Binding('a","b', None, "c", "d").data() != Binding("a", "b", "c", "d").data()
    assert Binding("a", None, "c", "d").data() != Binding("a", "null", "c", "d").data()


def test_a_state_expires() -> None:
    """At its instant it is over."""
    SEALER.open(TOKEN, BINDING, now_ms=HELD.expires_ms - 1)
    with pytest.raises(ProtocolError, match="Invalid or expired"):
        SEALER.open(TOKEN, BINDING, now_ms=HELD.expires_ms)


def test_another_secret_opens_nothing() -> None:
    """A process with a key of its own takes it for forged."""
    with pytest.raises(ProtocolError):
        Sealer(b"x" * 32).open(TOKEN, BINDING, now_ms=0)


@given(st.integers(len(PREFIX), len(TOKEN) - 1), st.sampled_from("AZaz09-_=+/ é"))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_no_changed_token_opens(place: int, char: str) -> None:
    """Not with one character changed, also where the bytes that it stands for would be the same."""
    changed = TOKEN[:place] + char + TOKEN[place + 1 :]
    if changed != TOKEN:
        with pytest.raises(ProtocolError) as caught:
            SEALER.open(changed, BINDING, now_ms=0)
        assert caught.value.code == "MCP_STATE_INVALID"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        PREFIX,
        PREFIX + "AAAA",
        PREFIX + "A",
        TOKEN + "=",
        TOKEN + "A",
        TOKEN[:-1],
        TOKEN[8:],
        PREFIX + TOKEN,
    ],
)
def test_what_is_no_token(token: str) -> None:
    """Each is refused in the same words: nobody learns how near it was."""
    with pytest.raises(ProtocolError) as caught:
        SEALER.open(token, BINDING, now_ms=0)
    assert caught.value.message == "Invalid or expired requestState"


def test_a_state_is_bounded_both_ways() -> None:
    """A server's own state may be too large to carry, and a client's token too large to look at."""
    with pytest.raises(ProtocolError, match="more state"):
        SEALER.seal(replace(HELD, carried={"requestState": "x" * MCP_STATE_CHARS_MAX}), BINDING, NONCE)
    with pytest.raises(ProtocolError):
        SEALER.open(PREFIX + "A" * MCP_STATE_CHARS_MAX, BINDING, now_ms=0)


@pytest.mark.parametrize("state", [None, 5, "theirs", "lumyn", ["lumyn.1."]])
def test_a_servers_own_state_is_left_alone(state: object) -> None:
    """Only what claims to be ours is."""
    assert not is_ours(state)


def test_nothing_of_a_state_can_be_read() -> None:
    """Answers of people stand in it: it is sealed, not only signed."""
    assert b"order_id" not in __import__("base64").urlsafe_b64decode(TOKEN[len(PREFIX) :] + "==")


def test_a_changed_call_is_told_both_digests() -> None:
    """So that a person can see what was approved and what came."""
    error = changed_call(HELD, "sha256:" + "c" * 64)
    assert "a" * 64 in error.message
    assert "c" * 64 in error.message
