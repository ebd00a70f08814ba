"""Which tools a caller sees: those that are in force, that its key covers, and that could ever be let go.

A tool that the policy refuses whatever its arguments are is not offered: an agent that cannot see it does not
try. A call of it by name is answered as if it did not exist, and recorded.
"""

from __future__ import annotations

from gateway.auth.keys import Principal
from gateway.engine.facts import derive
from gateway.engine.foresee import Known, always_refused
from gateway.kernel.types import JSONObject, Mode
from gateway.live import Snapshot
from gateway.pipeline.pins import Pin
from gateway.policy.plan import ActionPlan
from gateway.proxy.mcp.servers import Server
from gateway.wire.toolmap import ToolRule

_AMOUNTS = frozenset({"amount_usd", "amount_currency"})
_MEMORY = "evidence.failure_similarity_score"


def is_hidden(server: Server, pin: Pin, principal: Principal, snapshot: Snapshot) -> bool:
    """Tell whether a tool in force is not for this caller, whatever it would call it with."""
    action_type = server.tools.action_type(pin.tool)
    if not principal.may(action_type):
        return True
    policy = snapshot.policies.for_action(action_type)
    if (snapshot.engine.mode or policy.default_mode) is Mode.ADVISORY:
        return False
    subject = {"id": principal.name, "type": "service"}
    if principal.tenant is not None:
        subject["tenant_id"] = principal.tenant
    request: JSONObject = {
        "subject": subject,
        "action": {
            "type": action_type,
            "target": {"system": server.name, "resource_type": "mcp_tool", "resource_id": pin.tool},
        },
        "evidence": pin.hints if server.trusted else {},
    }
    rule = server.tools.rule_of(pin.tool)
    return always_refused(policy, derive(request, 0.0), _known(policy.plan(action_type), rule))


def _known(plan: ActionPlan, rule: ToolRule | None) -> Known:
    """Return what can be told before a call: all but what arguments, answers and memory will say."""
    to_come = {_MEMORY} | {f"evidence.{key}" for key in (() if rule is None else rule.evidence)}
    # What a policy asks for, a client may answer.
    to_come |= {field for asking in (*plan.before_trust, *plan.trust_paths) for field, _ in asking.queries}
    to_come |= {f"evidence.{key}" for key in plan.required}
    if rule is not None and rule.amount is not None:
        to_come |= _AMOUNTS
    return lambda field: field not in to_come
