"""`lumyn demo`: three decisions, or with --story how a labelled failure changes a later verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import options
from gateway.cli.render import fail, say, verdict, write_json
from gateway.cli.workspace import ensure, load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.kernel.types import JSONObject
    from gateway.pipeline.kept import Appended


def demo_command(
    out: options.Out = "-",
    *,
    story: Annotated[
        bool, typer.Option("--story", help="A refund trusted, labelled a failure, and one like it held.")
    ] = False,
    pretty: Annotated[bool, typer.Option("--pretty", help="Indented, not all in one line.")] = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Decide three requests of a support agent and print their records; the store keeps them."""
    try:
        settings = ensure(load_settings(workspace, config), workspace, config)
    except GatewayError as error:
        fail(error)
    if story:
        use_desk(settings, _tell, create=True)
    else:
        write_json(use_desk(settings, _three, create=True), out, pretty=pretty)


async def _three(desk: Desk, chosen: LumynConfig) -> list[JSONObject]:
    requests = (
        support("support.refund", "refund a late delivery", _refund_evidence(), amount=42.5),
        support("support.refund", "refund without a ticket", {"customer_id": "cus_7"}, amount=250),
        support("support.update_ticket", "add the tracking number", {"ticket_id": "T-1003"}),
    )
    return [await _decided(desk, chosen, request) for request in requests]


async def _tell(desk: Desk, chosen: LumynConfig) -> None:
    # A tenant of its own for each telling: an earlier one's failure must not hold the first refund.
    tenant = f"demo-{desk.new_id()[-6:].lower()}"
    say("Lumyn demo story")
    say("1) a small refund for a double charge")
    first = await _decided(desk, chosen, story_refund(tenant, "1042", 20))
    _say_record(first)
    say("2) the customer had been refunded before: label it a failure")
    labelled = await _label(desk, first["decision_id"])
    say(f"   event_id: {labelled.event_id}")
    say(f"   memory_id: {labelled.memory_id}")
    say("3) another small refund for a double charge")
    second = await _decided(desk, chosen, story_refund(tenant, "1043", 18))
    _say_record(second)
    score = second["risk_signals"]["failure_similarity"]["score"]
    say(f"   failure_similarity.score: {float(score)}")
    say(f"next: lumyn explain {second['decision_id']}")


async def _label(desk: Desk, decision_id: str) -> Appended:
    data = {"label": "failure", "summary": "refunded twice for one charge", "source": "demo"}
    return await desk.append(decision_id, "label", data)


async def _decided(desk: Desk, chosen: LumynConfig, request: JSONObject) -> JSONObject:
    import orjson

    from gateway.records.request import validate_request

    record: JSONObject = orjson.loads(await desk.decide(chosen, validate_request(request)))
    return record


def _say_record(record: JSONObject) -> None:
    say(f"   decision_id: {record['decision_id']}")
    say(f"   verdict: {verdict(record['verdict'])}")
    say(f"   reason_codes: {', '.join(record['reason_codes'])}")


def story_refund(tenant: str, order: str, value: float) -> JSONObject:
    """Return a refund that the support policy trusts while nothing speaks against it."""
    request = support(
        "support.refund", f"refund the double charge of order {order}", _refund_evidence(), amount=value
    )
    request["subject"]["tenant_id"] = tenant
    request["action"]["tags"] = ["duplicate_charge"]
    return request


def support(
    action_type: str, intent: str, evidence: dict[str, Any], amount: float | None = None
) -> JSONObject:
    """Return a request of a support agent; its context is no more than its intent."""
    from gateway.kernel.canon import digest

    action: JSONObject = {"type": action_type, "intent": intent, "target": {"system": "helpdesk"}}
    if amount is not None:
        action["amount"] = {"value": amount, "currency": "USD"}
    return {
        "schema_version": "decision_request.v0",
        "subject": {"type": "agent", "id": "support-bot"},
        "action": action,
        "evidence": evidence,
        "context": {"mode": "digest_only", "digest": digest({"intent": intent})},
    }


def _refund_evidence() -> JSONObject:
    return {
        "ticket_id": "T-1001",
        "order_id": "1042",
        "customer_id": "cus_7",
        "payment_instrument_risk": "low",
        "chargeback_risk": 0.05,
        "previous_refund_count_90d": 0,
        "customer_age_days": 400,
    }
