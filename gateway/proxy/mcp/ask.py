"""What is asked in one `tools/call`, and the DecisionRequest that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.auth.keys import Principal
from gateway.kernel.types import JSON, JSONObject, Tenant
from gateway.proxy.mcp.servers import Server
from gateway.wire.mcp.body import CallText
from gateway.wire.mcp.message import Message, RpcId
from gateway.wire.mcp.revision import Era, Mirror
from gateway.wire.mcp.state import Binding
from gateway.wire.toolmap import MappedCall


@dataclass(frozen=True, slots=True)
class Ask:
    """A call as it came, and who makes it."""

    server: Server
    principal: Principal
    message: Message
    body: bytes
    text: CallText
    era: Era
    mirror: Mirror
    headers: Sequence[tuple[bytes, bytes]]
    request_id: str
    traceparent: str | None

    @property
    def rpc_id(self) -> RpcId:
        """The id that the answer bears."""
        assert self.message.id is not None
        return self.message.id

    @property
    def tool(self) -> JSON:
        """The name of the tool, as far as it is one."""
        return self.message.params.get("name")

    @property
    def arguments(self) -> JSON:
        """The arguments; an absent member is an empty object."""
        return self.message.params.get("arguments", {})

    @property
    def tenant(self) -> Tenant:
        """Whose record it becomes."""
        return Tenant(self.principal.tenant)

    def binding(self, tool: str) -> Binding:
        """Return what a state of this call is bound to."""
        return Binding(self.principal.name, self.principal.tenant, self.server.name, tool)


def decision_request(ask: Ask, tool: str, mapped: MappedCall, evidence: JSONObject) -> JSONObject:
    """Return the request: digests, names and what the configuration maps, never the arguments themselves."""
    principal = ask.principal
    subject = {"id": principal.name, "type": "service"}
    if principal.tenant is not None:
        subject["tenant_id"] = principal.tenant
    trace = {"correlation_id": ask.request_id}
    if ask.traceparent is not None:
        trace["span_id"] = ask.traceparent
    action: JSONObject = {
        "type": mapped.action_type,
        "intent": f"call {tool} on {ask.server.name}",
        "target": {"system": ask.server.name, "resource_type": "mcp_tool", "resource_id": tool},
    }
    if mapped.amount is not None:
        action["amount"] = mapped.amount
    return {
        "schema_version": "decision_request.v0",
        "trace": trace,
        "subject": subject,
        "action": action,
        "evidence": {**mapped.evidence, **evidence},
        "context": {"mode": "digest_only", "digest": ask.text.params_digest},
    }
