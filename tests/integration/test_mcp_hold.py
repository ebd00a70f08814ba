"""Held calls: asked about on the wire or in words; approved once, answered once, and carried on once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.kernel.canon import sha256_digest
from gateway.pipeline.approvals import Approvals
from gateway.system import SystemClock
from gateway.wire.mcp.answers import APPROVAL_KEY, EVIDENCE_KEY
from gateway.wire.mcp.revision import Era
from tests.kit.gateways import RunningGateway
from tests.kit.mcp import (
    NEW,
    OLD,
    Stub,
    call,
    error_of,
    json_answer,
    listing,
    mcp_gateway,
    response,
    result_of,
    sse,
    sse_head,
    stub_server,
)
from tests.kit.rawpeer import Message, Wire, chunked

FORMS: dict[str, Any] = {}
"""An empty declaration means forms."""


@asynccontextmanager
async def shop(directory: Path, **settings: Any) -> AsyncIterator[tuple[Stub, RunningGateway]]:
    """A server whose tools are pinned, behind a gateway."""
    async with stub_server() as stub, mcp_gateway(directory, stub.url, **settings) as one:
        await listing(one)
        yield stub, one


def accept(key: str, **content: Any) -> dict[str, Any]:
    """The answer to a question."""
    return {key: {"action": "accept", "content": content}}


async def resolve(one: RunningGateway, approval_id: str, *, approve: bool = True) -> None:
    """Say the operator's word."""
    await Approvals(one.store, SystemClock()).resolve(approval_id, approve=approve, by="ann", reason="looked")


async def ask_big(one: RunningGateway, amount: int = 500, *, era: Era = NEW, **more: Any) -> Message:
    """A refund that a person must approve."""
    return await call(one, "refund", {"order": "O1", "amount": amount}, era=era, elicitation=FORMS, **more)


# --- evidence ------------------------------------------------------------------------------------


async def test_missing_evidence_is_asked_for_and_lets_the_call_go(tmp_path: Path) -> None:
    """The answer is evidence of the next decision; the server sees no trace of the question."""
    async with shop(tmp_path) as (stub, one):
        asked = result_of(await call(one, "close", {"n": 1.0}, elicitation=FORMS))
        assert asked["resultType"] == "input_required"
        form = asked["inputRequests"][EVIDENCE_KEY]["params"]
        assert (
            form["requestedSchema"]["properties"]["confirmed"]["description"]
            == "Has the customer confirmed it?"
        )
        assert stub.calls == []
        answer = await call(
            one,
            "close",
            {"n": 1.0},
            elicitation=FORMS,
            requestState=asked["requestState"],
            inputResponses=accept(EVIDENCE_KEY, confirmed="by phone", amount_usd=1, gate_finding="x"),
        )
        assert result_of(answer)["content"][0]["text"] == "done"
        [sent] = stub.calls
        assert not {"requestState", "inputResponses"} & sent.keys()
        record, held = await one.decisions(limit=2)
        assert record["request"]["evidence"] == {"confirmed": "by phone"}
        assert record["extensions"]["mcp"]["follows"] == held["decision_id"]
        assert record["extensions"]["mcp"]["sent_digest"] == sha256_digest(stub.requests[-1].body)
        assert (held["verdict"], record["verdict"]) == ("QUERY", "TRUST")


@pytest.mark.parametrize(
    ("era", "elicitation"),
    [(OLD, None), (NEW, None), (NEW, {"url": {}})],
    ids=["2025", "no forms", "url only"],
)
async def test_who_cannot_be_asked_is_told_what_is_missing(
    tmp_path: Path, era: Era, elicitation: Any
) -> None:
    """Field and question, as a tool result; no state that nobody would bring back."""
    async with shop(tmp_path) as (stub, one):
        result = result_of(await call(one, "close", {}, era=era, elicitation=elicitation))
        assert result["isError"] is True
        assert "evidence.confirmed: Has the customer confirmed it?" in result["content"][0]["text"]
        assert "requestState" not in result
        assert stub.calls == []


async def test_a_declined_question_ends_the_call(tmp_path: Path) -> None:
    """It is recorded as withdrawn, and its state is used up."""
    async with shop(tmp_path) as (stub, one):
        asked = result_of(await call(one, "close", {}, elicitation=FORMS))
        back = {
            "requestState": asked["requestState"],
            "inputResponses": {EVIDENCE_KEY: {"action": "decline"}},
        }
        result = result_of(await call(one, "close", {}, elicitation=FORMS, **back))
        assert "declined" in result["content"][0]["text"]
        assert (await one.decisions(limit=1))[0]["reason_codes"] == ["TOOL_CALL_WITHDRAWN"]
        assert error_of(await call(one, "close", {}, elicitation=FORMS, **back))["code"] == -32602
        assert stub.calls == []


async def test_an_answer_that_answers_nothing_is_asked_again_and_not_for_ever(tmp_path: Path) -> None:
    """Three times on the wire, then in words that a model can read."""
    async with shop(tmp_path) as (stub, one):
        result = result_of(await call(one, "close", {}, elicitation=FORMS))
        for responses in (accept(EVIDENCE_KEY), accept("other", confirmed="x"), {}):
            assert result["resultType"] == "input_required"
            back = {"requestState": result["requestState"], "inputResponses": responses}
            result = result_of(await call(one, "close", {}, elicitation=FORMS, **back))
        assert result["isError"] is True
        assert "needs more information" in result["content"][0]["text"]
        assert stub.calls == []


async def test_an_argument_that_is_missing_is_no_question_for_a_form(tmp_path: Path) -> None:
    """An answer beside the arguments would be judged and not carried out: the call itself must change."""
    tools = [{"name": "close", "action": "shop.close", "evidence": {"confirmed": "/confirmed"}}]
    async with shop(tmp_path, server={"tools": tools}) as (stub, one):
        result = result_of(await call(one, "close", {}, elicitation=FORMS))
        assert result["isError"] is True
        assert "evidence.confirmed" in result["content"][0]["text"]
        assert (await call(one, "close", {"confirmed": "yes"}, elicitation=FORMS)).status == 200
        assert len(stub.calls) == 1


# --- approvals -----------------------------------------------------------------------------------


async def test_an_approved_call_goes_once(tmp_path: Path) -> None:
    """Asked, approved by an operator, gone on with; the state and the approval are both used up."""
    async with shop(tmp_path) as (stub, one):
        asked = result_of(await ask_big(one))
        assert APPROVAL_KEY in asked["inputRequests"]
        approval_id = (await one.decisions(limit=1))[0]["extensions"]["approval"]["approval_id"]
        await resolve(one, approval_id)
        back = {"requestState": asked["requestState"], "inputResponses": accept(APPROVAL_KEY, approved=True)}
        assert result_of(await ask_big(one, **back))["content"][0]["text"] == "done"
        assert [sent["arguments"]["amount"] for sent in stub.calls] == [500]
        [outcome] = await one.outcomes()
        assert outcome["fate"] == "complete"
        again = await ask_big(one, **back)
        assert error_of(again)["message"] == "Invalid or expired requestState"
        plain = result_of(await ask_big(one))
        assert "this approval was used" in plain["content"][0]["text"]
        assert len(stub.calls) == 1


async def test_to_say_that_it_is_approved_approves_nothing(tmp_path: Path) -> None:
    """The client's word moves nothing: only the operator's does."""
    async with shop(tmp_path) as (stub, one):
        result = result_of(await ask_big(one))
        back = {"requestState": result["requestState"], "inputResponses": accept(APPROVAL_KEY, approved=True)}
        assert result_of(await ask_big(one, **back))["resultType"] == "input_required"
        assert stub.calls == []


@pytest.mark.parametrize("era", [OLD, NEW])
async def test_without_forms_the_same_call_is_repeated(tmp_path: Path, era: Era) -> None:
    """The result names the approval; once it is given, the very same call goes, and only that one."""
    async with shop(tmp_path) as (stub, one):
        arguments = {"order": "O1", "amount": 500}
        pending = result_of(await call(one, "refund", arguments, era=era))
        approval_id = pending["_meta"]["lumyn/approval_id"]
        assert approval_id in pending["content"][0]["text"]
        await resolve(one, approval_id)
        other = result_of(await call(one, "refund", {**arguments, "amount": 501}, era=era))
        assert other["isError"] is True
        assert stub.calls == []
        assert result_of(await call(one, "refund", arguments, era=era)).get("isError") is not True
        assert [sent["arguments"]["amount"] for sent in stub.calls] == [500]


async def test_a_denied_call_is_told_why(tmp_path: Path) -> None:
    """And asks nobody again."""
    async with shop(tmp_path) as (stub, one):
        asked = result_of(await ask_big(one))
        await resolve(one, (await one.decisions(limit=1))[0]["decision_id"], approve=False)
        back = {"requestState": asked["requestState"], "inputResponses": accept(APPROVAL_KEY, approved=True)}
        result = result_of(await ask_big(one, **back))
        assert "denied: looked" in result["content"][0]["text"]
        assert stub.calls == []


async def test_other_arguments_under_a_state_are_refused_with_both_digests(tmp_path: Path) -> None:
    """What was approved is 500: a repetition with 5000 or with 5 is another call."""
    async with shop(tmp_path) as (stub, one):
        asked = result_of(await ask_big(one))
        await resolve(one, (await one.decisions(limit=1))[0]["decision_id"])
        back = {"requestState": asked["requestState"], "inputResponses": accept(APPROVAL_KEY, approved=True)}
        for amount in (5000, 5):
            error = error_of(await ask_big(one, amount, **back))
            assert error["code"] == -32602
            for tried in (500, amount):
                text = orjson.dumps({"order": "O1", "amount": tried})
                assert sha256_digest(text) in error["message"]
            assert (await one.decisions(limit=1))[0]["reason_codes"] == ["TOOL_STATE_INVALID"]
        assert stub.calls == []


# --- servers that ask, too -----------------------------------------------------------------------


QUESTION = {
    "q": {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": "Sure?", "requestedSchema": {}},
    }
}


def asking(*, streamed: bool, state: str | None = '"th\\u0065irs"') -> Any:
    """A server that asks once and is done when its state comes back."""

    async def answer(wire: Wire, _: Message, message: dict[str, Any]) -> None:
        params = message["params"]
        if params.get("inputResponses", {}).get("q"):
            assert params.get("requestState") == (None if state is None else "theirs")
            result: dict[str, Any] = {"content": [{"type": "text", "text": "sure"}], "resultType": "complete"}
            body = response(message, result)
        else:
            more = "" if state is None else f',"requestState":{state}'
            asks = orjson.dumps(QUESTION).decode()
            result_text = f'{{"resultType":"input_required","inputRequests":{asks}{more}}}'
            body = f'{{"jsonrpc":"2.0","id":{message["id"]},"result":{result_text}}}'.encode()
        await wire.send(sse_head() + chunked(sse(body)) if streamed else json_answer(body))

    return answer


def result_in(answer: Message) -> dict[str, Any]:
    """The result of an answer, streamed or not."""
    text = answer.body.split(b"data: ")[-1] if b"data: " in answer.body else answer.body
    found: dict[str, Any] = orjson.loads(text)["result"]
    return found


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("state", ['"th\\u0065irs"', None])
async def test_a_servers_question_rides_on_the_approval(
    tmp_path: Path, streamed: bool, state: str | None
) -> None:
    """Its state travels inside ours, and the next round needs no second approval; the server sees its own."""
    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = asking(streamed=streamed, state=state)
        asked = result_of(await ask_big(one))
        await resolve(one, (await one.decisions(limit=1))[0]["decision_id"])
        back = {"requestState": asked["requestState"], "inputResponses": accept(APPROVAL_KEY, approved=True)}
        theirs = result_in(await ask_big(one, **back))
        assert theirs["inputRequests"] == QUESTION
        assert theirs["requestState"].startswith("lumyn.1.")
        leg = {"requestState": theirs["requestState"], "inputResponses": accept("q", ok=True)}
        assert result_in(await ask_big(one, **leg))["content"][0]["text"] == "sure"
        record = (await one.decisions(limit=1))[0]
        assert record["extensions"]["approval"]["state"] == "used"
        assert record["extensions"]["approval"]["continues"] == record["extensions"]["mcp"]["follows"]
        assert error_of(await ask_big(one, **leg))["message"] == "Invalid or expired requestState"
        assert len(stub.calls) == 2


async def test_a_trusted_call_is_between_server_and_client(tmp_path: Path) -> None:
    """Nothing was held, so nothing is sealed: the server's own state goes back and forth as it is."""
    async with shop(tmp_path) as (stub, one):
        stub.answers["tools/call"] = asking(streamed=False)
        theirs = result_of(await ask_big(one, 5))
        assert theirs["requestState"] == "theirs"
        leg = {"requestState": "theirs", "inputResponses": accept("q", ok=True)}
        assert result_of(await ask_big(one, 5, **leg))["content"][0]["text"] == "sure"
        assert stub.calls[1]["inputResponses"] == accept("q", ok=True)


async def test_a_question_of_ours_between_two_rounds_of_the_servers_loses_nothing(tmp_path: Path) -> None:
    """What the client brought for the server is sealed while the gate asks, and put back when it goes on."""
    async with shop(tmp_path) as (stub, one):
        brought = {"requestState": "theirs", "inputResponses": accept("q", n=1)}
        asked = result_of(await call(one, "close", {}, elicitation=FORMS, **brought))
        assert list(asked["inputRequests"]) == [EVIDENCE_KEY]
        back = {"requestState": asked["requestState"], "inputResponses": accept(EVIDENCE_KEY, confirmed="y")}
        assert (await call(one, "close", {}, elicitation=FORMS, **back)).status == 200
        [sent] = stub.calls
        assert {name: sent[name] for name in brought} == brought


async def test_a_client_that_awaits_a_task_is_told_in_an_error(tmp_path: Path) -> None:
    """It would not know a tool's result; the older revision has tasks."""
    async with shop(tmp_path) as (stub, one):
        answer = await call(one, "refund", {"amount": 5000}, era=OLD, task={"ttl": 1000})
        assert (answer.status, error_of(answer)["code"]) == (200, 403)
        assert "Not permitted" in error_of(answer)["message"]
        assert stub.calls == []
