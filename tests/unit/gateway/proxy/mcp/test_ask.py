"""The DecisionRequest of a call: digests, names and what is mapped, and valid as it is made."""

from __future__ import annotations

from dataclasses import replace

import orjson

from gateway.auth.keys import Principal
from gateway.kernel.types import Tenant
from gateway.proxy.mcp.ask import decision_request
from gateway.records.request import validate_request
from gateway.wire.toolmap import MappedCall


def test_the_request_of_a_call(make_ask) -> None:
    """It follows the contract, and holds no argument that nobody mapped."""
    ask = make_ask(arguments={"order": "O1", "amount": 5, "note": "secret"})
    mapped = ask.server.tools.call("refund", ask.arguments)
    request = validate_request(decision_request(ask, "refund", mapped, {"confirmed": "yes"}))
    assert request["subject"] == {"id": "bot", "type": "service", "tenant_id": "acme"}
    assert request["action"]["amount"] == {"value": 5, "currency": "USD"}
    assert request["evidence"] == {"order": "O1", "confirmed": "yes"}
    assert request["context"] == {"mode": "digest_only", "digest": ask.text.params_digest}
    assert request["trace"] == {"correlation_id": "r-1"}
    assert b"secret" not in orjson.dumps(request)


def test_what_is_not_there_is_not_in_the_request(make_ask) -> None:
    """No tenant, no amount; a trace where the client brings one."""
    ask = replace(make_ask(principal=Principal("solo", None)), traceparent="00-abc")
    request = decision_request(ask, "x", MappedCall("mcp.shop_x", {}, None), {})
    assert request["subject"] == {"id": "solo", "type": "service"}
    assert "amount" not in request["action"]
    assert request["trace"]["span_id"] == "00-abc"
    assert ask.tenant == Tenant(None)


def test_what_a_call_says_of_itself(make_ask) -> None:
    """The id with its type, and what a state of it is bound to."""
    ask = make_ask()
    assert (ask.rpc_id, ask.tool, ask.arguments) == (7, "refund", {})
    binding = ask.binding("refund")
    assert (binding.principal, binding.tenant, binding.server, binding.tool) == (
        "bot",
        "acme",
        "shop",
        "refund",
    )
