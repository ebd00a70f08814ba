"""Another model for a request whose attempt came to nothing, by the same plan that chose the first one. Pure.

`detour` plans it again without the models that failed it and says what would be done; `divert` does it. The
ladder of its intent is all there is to choose from: never below the floor, nothing where the intent permits
no downgrade, and nothing that would have to wait.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from controller.core.controller import Controller
from controller.core.deployment import Flight
from controller.core.events import Submission
from controller.plan import Disposition, Mode, Plan, make_plan


def flight_of(controller: Controller, request_id: str) -> Flight | None:
    """Return a request that is sent and not ended."""
    return controller._flights.get(request_id)  # noqa: SLF001 - one controller in two files


def detour(
    controller: Controller, request_id: str, without: Collection[str], now_s: float
) -> Submission | None:
    """Return the plan under which a sent request may go on at once, or None. Changes nothing."""
    flight = flight_of(controller, request_id)
    if flight is None or controller.operator_mode is Mode.SHADOW:
        return None
    request = replace(flight.request, without=tuple(sorted(without)))
    snapshot = controller.snapshot(request, now_s)
    plan = make_plan(request, snapshot)
    known = plan.model in controller.deployments and plan.model not in without
    return Submission(plan, request, snapshot) if known and plan.disposition is Disposition.PASS else None


def divert(controller: Controller, plan: Plan, *, failed: bool, now_s: float) -> None:
    """Move a sent request to the model of a new plan; `failed` says that the model before is to blame.

    Its intent judges it once, at its end, from its first arrival on.
    """
    flight = controller._flights.pop(plan.request_id)  # noqa: SLF001 - as above
    controller.deployments[flight.model].ended(flight, 0, failed=failed, now_s=now_s)
    account = controller._account(flight.request)  # noqa: SLF001 - as above
    account.spent(-flight.cost_uusd, now_s)
    account.counts["downgraded"] += 1
    controller._send(flight.request, plan, now_s)  # noqa: SLF001 - as above
    controller._flights[plan.request_id].late = flight.late  # noqa: SLF001 - as above
