"""What a call says before a policy is asked: the first thing that is wrong is the finding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.auth.keys import Principal
from gateway.pipeline.gatehouse import Finding
from gateway.proxy.mcp.inspect import inspect, unknown_tool
from gateway.wire.mcp.answers import APPROVAL_KEY, EVIDENCE_KEY
from gateway.wire.mcp.revision import Era, MirroredArgument
from gateway.wire.mcp.state import Held

NOW_MS = 1_000


def held(ask, sealer, **changed: Any) -> str:
    """The state of a call that was held."""
    members = {
        "decision_id": "D",
        "arguments_digest": ask.text.arguments_digest({}),
        "expires_ms": 2_000,
        **changed,
    }
    return sealer.seal(Held(**members), ask.binding("refund"), b"n" * 12)


def test_a_plain_call(make_ask, pin, sealer) -> None:
    """Mapped, nothing found, nothing brought back."""
    seen = inspect(make_ask(arguments={"order": "O1", "amount": 5}), "refund", pin, sealer, now_ms=NOW_MS)
    assert seen.finding is None
    assert seen.mapped.evidence == {"order": "O1"}
    assert (seen.held, seen.state_number, seen.answers) == (None, None, {})


def test_what_a_key_does_not_cover_is_an_unknown_tool(make_ask, pin, sealer) -> None:
    """In the words of one that is not there; its arguments are not looked at."""
    ask = make_ask(arguments=b"[]", principal=Principal("bot", None, actions=("x.*",)))
    seen = inspect(ask, "refund", pin, sealer, now_ms=NOW_MS)
    assert seen.finding is Finding.NOT_COVERED
    assert str(seen.error) == str(unknown_tool("refund"))


@pytest.mark.parametrize(
    "arguments", [b"[]", b"null", b'{"a":1,"a":2}', b'{"amount":"5"}', b'{"pad":"' + b"x" * (1 << 20) + b'"}']
)
def test_arguments_that_cannot_be_judged(make_ask, pin, sealer, arguments: bytes) -> None:
    """Each is told in the protocol's own error."""
    seen = inspect(make_ask(arguments=arguments), "refund", pin, sealer, now_ms=NOW_MS)
    assert seen.finding is Finding.ARGUMENTS_INVALID
    assert seen.error.code == "MCP_PARAMS_INVALID"


@pytest.mark.parametrize(
    ("era", "mirrored", "finding"),
    [
        (Era.STATELESS, {"region": "eu"}, None),
        (Era.STATELESS, {"region": "us"}, Finding.HEADER_MISMATCH),
        (Era.STATELESS, {}, Finding.HEADER_MISMATCH),
        (Era.SESSIONS, {"region": "us"}, None),
    ],
)
def test_mirrored_arguments(make_ask, pin, sealer, era: Era, mirrored: dict[str, str], finding: Any) -> None:
    """Compared where the revision has them."""
    wants = replace(pin, mirrored=(MirroredArgument(("region",), "region", integer=False),))
    ask = make_ask(arguments={"region": "eu"}, era=era, mirrored=mirrored)
    assert inspect(ask, "refund", wants, sealer, now_ms=NOW_MS).finding is finding


def test_a_state_comes_back(make_ask, pin, sealer) -> None:
    """Only what was asked for is taken, and only plain values; earlier answers stay."""
    state = held(make_ask(), sealer, asked=("a", "b", "c"), answers={"z": 1})
    reply = {EVIDENCE_KEY: {"action": "accept", "content": {"a": "x", "b": {"n": 1}, "d": "no", "c": 2**60}}}
    ask = make_ask(requestState=state, inputResponses=reply)
    seen = inspect(ask, "refund", pin, sealer, now_ms=NOW_MS)
    assert seen.finding is None
    assert seen.answers == {"z": 1, "a": "x"}
    assert (seen.held.decision_id, seen.state_number) == ("D", (b"n" * 12).hex())


@pytest.mark.parametrize(
    ("members", "key"), [({"asked": ("a",)}, EVIDENCE_KEY), ({"approval_id": "A"}, APPROVAL_KEY)]
)
def test_a_question_that_was_declined(make_ask, pin, sealer, members: dict[str, Any], key: str) -> None:
    """The call is withdrawn; the state is known, so that it can be used up."""
    state = held(make_ask(), sealer, **members)
    for action in ("decline", "cancel"):
        ask = make_ask(requestState=state, inputResponses={key: {"action": action}})
        seen = inspect(ask, "refund", pin, sealer, now_ms=NOW_MS)
        assert (seen.finding, seen.error) == (Finding.WITHDRAWN, None)
        assert seen.state_number is not None


def test_a_servers_own_round_is_no_answer_to_ours(make_ask, pin, sealer) -> None:
    """What it declines is between the client and the server."""
    state = held(make_ask(), sealer, released_under="sha256:p", answers={"z": 1})
    ask = make_ask(requestState=state, inputResponses={APPROVAL_KEY: {"action": "decline"}})
    seen = inspect(ask, "refund", pin, sealer, now_ms=NOW_MS)
    assert (seen.finding, seen.answers) == (None, {"z": 1})


def test_states_that_are_not_taken(make_ask, pin, sealer) -> None:
    """Old, of other arguments, of another principal, or on the older revision."""
    state = held(make_ask(), sealer)
    for ask, now_ms in (
        (make_ask(requestState=state), 2_000),
        (make_ask(arguments={"a": 1}, requestState=state), NOW_MS),
        (make_ask(principal=Principal("other", "acme"), requestState=state), NOW_MS),
        (make_ask(era=Era.SESSIONS, requestState=state), NOW_MS),
    ):
        seen = inspect(ask, "refund", pin, sealer, now_ms=now_ms)
        assert seen.finding is Finding.STATE_INVALID
        assert seen.held is None
    assert inspect(make_ask(requestState="theirs"), "refund", pin, sealer, now_ms=NOW_MS).finding is None


def test_answers_are_bounded(make_ask, pin, sealer) -> None:
    """They stand in the record."""
    state = held(make_ask(), sealer, asked=("a",))
    reply = {EVIDENCE_KEY: {"action": "accept", "content": {"a": "x" * 20_000}}}
    seen = inspect(make_ask(requestState=state, inputResponses=reply), "refund", pin, sealer, now_ms=NOW_MS)
    assert seen.finding is Finding.ARGUMENTS_INVALID
