"""Plans: the scored option table of a request, the choice, and its reasons. Pure."""

from controller.plan.choose import make_plan
from controller.plan.plain import (
    digest,
    from_plain,
    plain,
    plan_from_plain,
    request_from_plain,
    snapshot_from_plain,
    tick_from_plain,
)
from controller.plan.types import (
    Action,
    ActionKind,
    Cause,
    Disposition,
    IntentState,
    LiveState,
    Mode,
    ModelState,
    Option,
    Plan,
    Prediction,
    Request,
    Snapshot,
    TickState,
)

__all__ = [
    "Action",
    "ActionKind",
    "Cause",
    "Disposition",
    "IntentState",
    "LiveState",
    "Mode",
    "ModelState",
    "Option",
    "Plan",
    "Prediction",
    "Request",
    "Snapshot",
    "TickState",
    "digest",
    "from_plain",
    "make_plan",
    "plain",
    "plan_from_plain",
    "request_from_plain",
    "snapshot_from_plain",
    "tick_from_plain",
]
