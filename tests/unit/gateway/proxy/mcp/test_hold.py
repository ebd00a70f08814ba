"""Answers to held calls: asked where that goes, told in words elsewhere, and what the next round knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from gateway.kernel.bounds import MCP_ROUNDS_MAX, MCP_STATE_CHARS_MAX
from gateway.kernel.errors import DeniedError, PendingError, RefusedError, UpstreamBrokenError
from gateway.kernel.types import Verdict
from gateway.proxy.mcp.hold import Holder, carried_on, forwarded_body
from gateway.proxy.mcp.inspect import Inspection
from gateway.proxy.mcp.reply import AnsweredError
from gateway.wire.mcp.answers import APPROVAL_KEY, EVIDENCE_KEY, Refusal
from gateway.wire.mcp.revision import Era
from gateway.wire.mcp.state import Held
from gateway.wire.toolmap import MappedCall
from tests.kit.entries import CountedRandomness, StillClock

QUERIES = ({"field": "evidence.confirmed", "question": "Sure?"},)
QUERY = Refusal("refund", Verdict.QUERY, "D", QUERIES)
PENDING = Refusal("refund", Verdict.ESCALATE, "D", (), PendingError("A1"))


@pytest.fixture
def holder(sealer) -> Holder:
    """A holder whose states live for a second."""
    return Holder(sealer, StillClock(), CountedRandomness(), 1_000)


def seen(**members: Any) -> Inspection:
    """What was read of a call."""
    return Inspection(MappedCall("shop.refund", {}, None), **members)


def test_who_shows_forms_is_asked(holder, make_ask, sealer) -> None:
    """For evidence or for an approval; the sealed state knows which."""
    ask = make_ask(elicitation={})
    for refusal, key, asked, approval in (
        (QUERY, EVIDENCE_KEY, ("confirmed",), None),
        (PENDING, APPROVAL_KEY, (), "A1"),
    ):
        told = holder.answer(ask, "refund", seen(answers={"z": 1}), refusal)
        assert isinstance(told, AnsweredError)
        assert list(told.result["inputRequests"]) == [key]
        state, _ = sealer.open(told.result["requestState"], ask.binding("refund"), now_ms=0)
        assert (state.asked, state.approval_id, state.answers, state.rounds) == (asked, approval, {"z": 1}, 1)
        assert state.expires_ms == holder.clock.wall_ms() + 1_000


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"elicitation": None}, QUERY),
        ({"elicitation": {"url": {}}}, PENDING),
        ({"elicitation": {}, "era": Era.SESSIONS}, QUERY),
        ({"elicitation": {}}, Refusal("refund", Verdict.ABSTAIN, "D")),
        ({"elicitation": {}}, Refusal("refund", Verdict.ESCALATE, "D", (), DeniedError("denied"))),
        (
            {"elicitation": {}},
            Refusal("refund", Verdict.QUERY, "D", ({"field": "evidence.order", "question": "?"},)),
        ),
        (
            {"elicitation": {}},
            Refusal("refund", Verdict.QUERY, "D", ({"field": "action.amount", "question": "?"},)),
        ),
        ({"elicitation": {}}, Refusal("refund", Verdict.QUERY, "D")),
    ],
)
def test_who_is_told_in_words(holder, make_ask, params: dict[str, Any], refusal: Refusal) -> None:
    """Who cannot be asked, what is final, and arguments that only another call can give."""
    told = holder.answer(make_ask(**params), "refund", seen(), refusal)
    assert isinstance(told, AnsweredError)
    assert told.result["isError"] is True
    assert "requestState" not in told.result


def test_nobody_is_asked_for_ever(holder, make_ask) -> None:
    """After the last round it is told in words."""
    ask = make_ask(elicitation={})
    for rounds, asked in ((MCP_ROUNDS_MAX - 1, True), (MCP_ROUNDS_MAX, False)):
        before = Held("D", "sha256:x", 0, rounds=rounds)
        told = holder.answer(ask, "refund", seen(held=before), QUERY)
        assert ("requestState" in told.result) is asked


def test_who_awaits_a_task_gets_an_error(holder, make_ask) -> None:
    """A tool's result would not be understood."""
    told = holder.answer(make_ask(task={}), "refund", seen(), QUERY)
    assert type(told) is RefusedError
    assert "needs more information" in told.message


def test_a_state_that_would_be_too_large_is_not_given(holder, make_ask) -> None:
    """Then the caller is told in words."""
    ask = make_ask(elicitation={}, requestState="x" * MCP_STATE_CHARS_MAX)
    assert holder.answer(ask, "refund", seen(), QUERY).result["isError"] is True


DECISION: Any = SimpleNamespace(decision_id="D2", policy_hash="sha256:p")


def test_a_servers_question_is_sealed_with_what_was_decided(holder, make_ask, sealer) -> None:
    """Its own state goes along as it is written."""
    ask = make_ask()
    rewrite = holder.rewriting(ask, "refund", seen(answers={"z": 1}), DECISION, approval_id="A1")
    told = orjson.loads(rewrite('{"result":{"resultType":"input_required","requestState":"th\\u0065irs"}}'))
    state, _ = sealer.open(told["result"]["requestState"], ask.binding("refund"), now_ms=0)
    assert state.carried == {"requestState": '"th\\u0065irs"'}
    assert (state.released_under, state.approval_id, state.decision_id) == ("sha256:p", "A1", "D2")
    bare = orjson.loads(rewrite('{"result":{"resultType":"input_required"}}'))
    assert sealer.open(bare["result"]["requestState"], ask.binding("refund"), now_ms=0)[0].carried == {}
    assert bare["result"]["requestState"] != told["result"]["requestState"]
    with pytest.raises(UpstreamBrokenError, match="more state"):
        rewrite('{"result":{"requestState":"%b"}}'.replace("%b", "x" * MCP_STATE_CHARS_MAX))


def test_what_goes_on_is_what_came_unless_something_of_ours_is_in_it(make_ask) -> None:
    """Then that is cut out, and what belongs to the server put back."""
    plain = make_ask(arguments={"a": 1.0}, requestState="theirs", inputResponses={"q": {}})
    assert forwarded_body(plain, seen()) is plain.body
    stray = make_ask(inputResponses={"lumyn.evidence": {}, "q": {}})
    assert orjson.loads(forwarded_body(stray, seen()))["params"]["inputResponses"] == {"q": {}}
    back = make_ask(requestState="lumyn.1.x", inputResponses={"lumyn.approval": {}})
    before = seen(held=Held("D", "x", 0, carried={"requestState": '"theirs"'}))
    assert carried_on(back, before) == {"requestState": '"theirs"'}
    sent = orjson.loads(forwarded_body(back, before))["params"]
    assert sent["requestState"] == "theirs"
    assert "inputResponses" not in sent
