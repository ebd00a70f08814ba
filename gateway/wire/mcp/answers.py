"""What the gateway itself says on MCP: errors as JSON-RPC, refusals as tool results, questions as forms.

A refusal tells an agent that it may stop, and where a person can look: the reference names the decision.
Why it fell so stands in the record alone, so that a refusal is no oracle for what would pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from gateway.kernel.errors import GatewayError, PendingError, ProtocolError, RefusedError
from gateway.kernel.types import JSONObject, Verdict
from gateway.wire.mcp.message import RpcId
from gateway.wire.mcp.revision import CAPABILITIES_KEY, Era
from gateway.wire.mcp.state import OWN_KEYS

EVIDENCE_KEY: Final = f"{OWN_KEYS}evidence"
"""The name of our question for evidence in `inputRequests`."""
APPROVAL_KEY: Final = f"{OWN_KEYS}approval"
"""The name of our question whether an approval has been given."""

_CODES: Final[Mapping[str, int]] = {
    "MALFORMED_REQUEST": -32700,
    "MCP_MESSAGE_INVALID": -32600,
    "MCP_METHOD_UNKNOWN": -32601,
    "MCP_PARAMS_INVALID": -32602,
    "MCP_STATE_INVALID": -32602,
    "MCP_TOOL_UNKNOWN": -32602,
    "INVALID_REQUEST_SCHEMA": -32602,
    "MCP_HEADER_MISMATCH": -32020,
    "MCP_VERSION_UNSUPPORTED": -32022,
    "INTERNAL": -32603,
}
"""JSON-RPC's codes and the protocol's own. Everything else is told by its HTTP status, which lies outside the
range that JSON-RPC reserves."""
_FRAMING: Final = frozenset({401, 403, 404, 405, 408, 413, 415})
"""Statuses that say something of the HTTP request: they stand on every revision."""


def rpc_code(error: GatewayError) -> int:
    """Return the JSON-RPC code of an error."""
    return _CODES.get(error.code, error.status)


def rpc_status(error: GatewayError, era: Era | None) -> int:
    """Return the HTTP status of an error. `era` None: the message was not understood so far.

    With sessions, clients take a status of 400 and above for the end of the session: what concerns one
    request only is told with 200, as the official servers do.
    """
    if isinstance(error, RefusedError):
        return 200
    if error.code == "MCP_METHOD_UNKNOWN":
        return 404 if era is Era.STATELESS else 200
    handled = error.code in {"MCP_TOOL_UNKNOWN", "MCP_PARAMS_INVALID"} or not isinstance(error, ProtocolError)
    if era is Era.SESSIONS and handled and error.status not in _FRAMING:
        return 200
    return error.status


def rpc_error(rpc_id: RpcId | None, error: GatewayError, **facts: str) -> bytes:
    """Return an error response. `facts` stand in its data beside the stable code."""
    data: JSONObject = {"code": error.code, "should_retry": error.retryable, **facts}
    if error.pointer:
        data["pointer"] = error.pointer
    if isinstance(error, ProtocolError) and error.data is not None:
        data |= error.data
    message = error.message if error.hint is None else f"{error.message}: {error.hint}"
    fault = {"code": rpc_code(error), "message": message, "data": data}
    return orjson.dumps({"jsonrpc": "2.0", "id": rpc_id, "error": fault})


def error_body(error: GatewayError, request_id: str) -> bytes:
    """Return the body of an error that belongs to no message: an `ErrorShape`."""
    return rpc_error(None, error, request_id=request_id)


def rpc_result(rpc_id: RpcId, result: JSONObject) -> bytes:
    """Return a response."""
    return orjson.dumps({"jsonrpc": "2.0", "id": rpc_id, "result": result})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was not carried out, as far as its caller is told."""

    tool: str
    verdict: Verdict
    decision_id: str
    queries: Sequence[JSONObject] = ()
    error: GatewayError | None = None
    """What an approval came to, where there is one."""
    reason: str | None = None
    """What the gateway found by itself."""

    @property
    def approval_id(self) -> str | None:
        """The approval that a person is asked for, where one is pending."""
        return self.error.approval_id if isinstance(self.error, PendingError) else None

    @property
    def text(self) -> str:
        """Return it in words for a model and for whoever reads along."""
        name = self.tool[:64]
        if self.approval_id is not None:
            return (
                f"Approval pending: a person must approve this call of `{name}`. Repeat the very same call "
                f"once it is approved. Reference: {self.approval_id}"
            )
        if self.error is not None:
            return f"Not permitted: {self.error.message}. Reference: {self.decision_id}"
        if self.reason is not None:
            return f"Not permitted: {self.reason}. Reference: {self.decision_id}"
        if self.verdict is Verdict.QUERY and self.queries:
            asked = "\n".join(f"- {query['field']}: {query['question']}" for query in self.queries)
            return (
                f"Not permitted yet: `{name}` needs more information.\n{asked}\nReference: {self.decision_id}"
            )
        return f"Not permitted. Do not retry. Reference: {self.decision_id}"


def refused(refusal: Refusal, era: Era) -> JSONObject:
    """Return the tool result that says a call was not carried out."""
    facts = {"lumyn/decision_id": refusal.decision_id, "lumyn/verdict": refusal.verdict.value}
    if refusal.approval_id is not None:
        facts["lumyn/approval_id"] = refusal.approval_id
    result: JSONObject = {
        "content": [{"type": "text", "text": refusal.text}],
        "isError": True,
        "_meta": facts,
    }
    return result | {"resultType": "complete"} if era is Era.STATELESS else result


def may_ask(meta: JSONObject) -> bool:
    """Tell whether the client of a request has declared that it shows forms: `{}` declares that."""
    capabilities = meta.get(CAPABILITIES_KEY)
    declared = capabilities.get("elicitation") if isinstance(capabilities, dict) else None
    return isinstance(declared, dict) and (not declared or "form" in declared)


def ask_evidence(refusal: Refusal, kinds: Mapping[str, str], state: str) -> JSONObject:
    """Return the result that asks for missing evidence, one flat field a question."""
    properties: JSONObject = {}
    for query in refusal.queries:
        name = query["field"].removeprefix("evidence.")
        question = {"title": name, "description": query["question"]}
        properties[name] = {"type": kinds.get(name, "string"), **question}
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    message = (
        f"Lumyn Gateway needs more information before it can let `{refusal.tool[:64]}` through. "
        f"Reference: {refusal.decision_id}"
    )
    return _asked(EVIDENCE_KEY, message, schema, state)


def ask_approval(refusal: Refusal, state: str) -> JSONObject:
    """Return the result that waits for a person's approval, which is given elsewhere."""
    message = (
        f"Lumyn Gateway: this call of `{refusal.tool[:64]}` waits for the approval of an operator. "
        f"Continue when it has been given. Reference: {refusal.approval_id}"
    )
    schema = {
        "type": "object",
        "properties": {
            "approved": {
                "type": "boolean",
                "title": "The operator has approved it",
                "description": "This does not approve it: the gateway looks up what the operator said.",
            }
        },
        "required": ["approved"],
    }
    return _asked(APPROVAL_KEY, message, schema, state)


def _asked(key: str, message: str, schema: JSONObject, state: str) -> JSONObject:
    params = {"mode": "form", "message": message, "requestedSchema": schema}
    return {
        "resultType": "input_required",
        "inputRequests": {key: {"method": "elicitation/create", "params": params}},
        "requestState": state,
    }


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client answered to a question of ours."""

    accepted: bool
    content: JSONObject


def read_reply(params: JSONObject, key: str) -> Reply | None:
    """Return the answer to our question, or None where there is none: then it is asked again."""
    responses = params.get("inputResponses")
    response = responses.get(key) if isinstance(responses, dict) else None
    if not isinstance(response, dict):
        return None
    content = response.get("content")
    return Reply(response.get("action") == "accept", content if isinstance(content, dict) else {})


def wants_task(params: JSONObject) -> bool:
    """Tell whether the client awaits a task (2025-11-25, experimental) and not a tool's result."""
    return "task" in params
