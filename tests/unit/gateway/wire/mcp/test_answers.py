"""What the gateway itself says, and that the official SDK reads it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from mcp_types import (
    CallToolResult,
    ElicitRequestFormParams,
    InputRequiredResult,
    JSONRPCError,
    JSONRPCResponse,
)

from gateway.kernel import errors
from gateway.kernel.errors import (
    DeniedError,
    GatewayError,
    PendingError,
    ProtocolError,
    StoreUnavailableError,
    UpstreamTimeoutError,
)
from gateway.kernel.types import Verdict
from gateway.wire.mcp.answers import (
    APPROVAL_KEY,
    EVIDENCE_KEY,
    Refusal,
    Reply,
    ask_approval,
    ask_evidence,
    error_body,
    may_ask,
    read_reply,
    refused,
    rpc_code,
    rpc_error,
    rpc_result,
    rpc_status,
    wants_task,
)
from gateway.wire.mcp.revision import CAPABILITIES_KEY, Era

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
QUERIES = (
    {"field": "evidence.order_id", "question": "Which order?"},
    {"field": "evidence.count", "question": "How many?"},
)


def test_a_refusal_says_that_it_is_one_and_where_to_look() -> None:
    """Nothing of the reason: an agent could probe for what passes."""
    result = refused(Refusal("refund", Verdict.ABSTAIN, ID), Era.STATELESS)
    assert result["content"] == [{"type": "text", "text": f"Not permitted. Do not retry. Reference: {ID}"}]
    assert result["isError"] is True
    assert result["resultType"] == "complete"
    assert result["_meta"] == {"lumyn/decision_id": ID, "lumyn/verdict": "ABSTAIN"}
    assert "resultType" not in refused(Refusal("refund", Verdict.ABSTAIN, ID), Era.SESSIONS)
    assert CallToolResult.model_validate(result).is_error


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            Refusal("refund", Verdict.QUERY, ID, QUERIES),
            ["needs more", "evidence.order_id: Which order?", ID],
        ),
        (Refusal("refund", Verdict.QUERY, ID), ["Not permitted. Do not retry", ID]),
        (Refusal("refund", Verdict.ESCALATE, ID, (), PendingError("A1")), ["Approval pending", "A1"]),
        (
            Refusal("refund", Verdict.ESCALATE, ID, (), DeniedError("the request was denied: no")),
            ["denied: no", ID],
        ),
        (
            Refusal("refund", Verdict.ABSTAIN, ID, reason="it has changed"),
            ["Not permitted: it has changed", ID],
        ),
    ],
)
def test_each_refusal_says_what_to_do(refusal: Refusal, words: list[str]) -> None:
    """In words for a model and for whoever reads along."""
    assert all(word in refusal.text for word in words), refusal.text


def test_a_pending_approval_is_named_where_programs_look() -> None:
    """The reference stands in `_meta` too."""
    pending = Refusal("refund", Verdict.ESCALATE, ID, (), PendingError("A1"))
    assert refused(pending, Era.SESSIONS)["_meta"]["lumyn/approval_id"] == "A1"
    assert "lumyn/approval_id" not in refused(Refusal("x", Verdict.QUERY, ID), Era.SESSIONS)["_meta"]


def form(result: dict[str, Any], key: str) -> ElicitRequestFormParams:
    """The form of a question, as the official SDK reads it."""
    InputRequiredResult.model_validate(result)
    [(name, request)] = result["inputRequests"].items()
    assert (name, request["method"]) == (key, "elicitation/create")
    assert not {"jsonrpc", "id"} & request.keys()
    return ElicitRequestFormParams.model_validate(request["params"])


def test_a_question_for_evidence_is_a_flat_form() -> None:
    """One field a question, of the type that the configuration says; text where it says none."""
    result = ask_evidence(Refusal("refund", Verdict.QUERY, ID, QUERIES), {"count": "integer"}, "lumyn.1.s")
    schema = form(result, EVIDENCE_KEY).requested_schema
    kinds = {name: (field["type"], field["description"]) for name, field in schema["properties"].items()}
    assert kinds == {"order_id": ("string", "Which order?"), "count": ("integer", "How many?")}
    assert schema["required"] == ["count", "order_id"]
    assert result["requestState"] == "lumyn.1.s"


def test_a_question_for_an_approval_approves_nothing() -> None:
    """It names the gateway and the reference, and says that its answer is no approval."""
    asked = form(
        ask_approval(Refusal("refund", Verdict.ESCALATE, ID, (), PendingError("A1")), "lumyn.1.s"),
        APPROVAL_KEY,
    )
    assert "Lumyn Gateway" in asked.message
    assert "A1" in asked.message
    assert "does not approve" in asked.requested_schema["properties"]["approved"]["description"]


@pytest.mark.parametrize(
    ("elicitation", "may"),
    [
        ({}, True),
        ({"form": {}}, True),
        ({"form": {}, "url": {}}, True),
        ({"url": {}}, False),
        (None, False),
        ([], False),
    ],
)
def test_who_may_be_asked(elicitation: Any, may: bool) -> None:
    """An empty declaration means forms; one that names only `url` means none."""
    assert may_ask({CAPABILITIES_KEY: {"elicitation": elicitation}}) is may
    assert not may_ask({CAPABILITIES_KEY: []})
    assert not may_ask({})


@pytest.mark.parametrize(
    ("responses", "reply"),
    [
        ({"k": {"action": "accept", "content": {"a": 1}}}, Reply(accepted=True, content={"a": 1})),
        ({"k": {"action": "decline"}}, Reply(accepted=False, content={})),
        ({"k": {"action": "cancel", "content": 5}}, Reply(accepted=False, content={})),
        ({"k": {}}, Reply(accepted=False, content={})),
        ({"other": {"action": "accept"}}, None),
        ({"k": "accept"}, None),
        ([], None),
        (None, None),
    ],
)
def test_replies(responses: Any, reply: Reply | None) -> None:
    """Only `accept` accepts; what is no reply is asked for again."""
    assert read_reply({"inputResponses": responses}, "k") == reply


def test_errors_are_json_rpc_under_the_callers_id() -> None:
    """With a stable code of ours in the data, and whether to try again."""
    error = rpc_error(7, StoreUnavailableError("the disk is full", hint="wait"), decision_id=ID)
    said = JSONRPCError.model_validate_json(error)
    assert said.id == 7
    assert said.error.code == 503
    assert said.error.message == "the disk is full: wait"
    assert said.error.data == {"code": "STORAGE_UNAVAILABLE", "should_retry": True, "decision_id": ID}
    assert orjson.loads(error_body(ProtocolError("x"), "r1"))["error"]["data"]["request_id"] == "r1"
    assert orjson.loads(error_body(ProtocolError("x"), "r1"))["id"] is None
    pointed = errors.InvalidRequestError("x", pointer="/a")
    assert orjson.loads(rpc_error(1, pointed))["error"]["data"]["pointer"] == "/a"
    assert JSONRPCResponse.model_validate_json(rpc_result("a", {"x": 1})).result == {"x": 1}


def tree() -> list[type[GatewayError]]:
    """Every error that can reach a client."""
    found = [GatewayError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_codes_of_our_own_lie_outside_the_reserved_range() -> None:
    """JSON-RPC keeps -32768 to -32000 for itself: there only its own and the protocol's codes stand."""
    reserved = {-32700, -32600, -32601, -32602, -32603, -32020, -32022}
    for kind in tree():
        code = rpc_code(GatewayError("x", code=kind.default_code))
        assert code in reserved or code > 0, kind


@pytest.mark.parametrize(
    ("error", "sessions", "stateless"),
    [
        (ProtocolError("x", code="MCP_TOOL_UNKNOWN"), 200, 400),
        (ProtocolError("x", code="MCP_METHOD_UNKNOWN"), 200, 404),
        (ProtocolError("x", code="MCP_PARAMS_INVALID"), 200, 400),
        (ProtocolError("x", code="MCP_HEADER_MISMATCH"), 400, 400),
        (ProtocolError("x"), 400, 400),
        (UpstreamTimeoutError("x"), 200, 504),
        (StoreUnavailableError("x"), 200, 503),
        (DeniedError("x"), 200, 200),
        (errors.UnauthorizedError("x"), 401, 401),
        (errors.TooLargeError("x"), 413, 413),
    ],
)
def test_statuses(error: GatewayError, sessions: int, stateless: int) -> None:
    """A client with a session takes 4xx for its end: only what concerns HTTP has such a status there."""
    assert rpc_status(error, Era.SESSIONS) == sessions
    assert rpc_status(error, Era.STATELESS) == stateless


def test_who_awaits_a_task() -> None:
    """The member alone tells."""
    assert wants_task({"task": {"ttl": 1}})
    assert not wants_task({"name": "task"})
