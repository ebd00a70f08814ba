"""`controller.core.late`: who would come too late is planned anew, a few at a time."""

from __future__ import annotations

from controller.core import Controller, ControllerConfig
from controller.core.late import BITE, BITE_S, BITES_PER_TICK, LateRequests
from controller.intent import IntentSet, PressureAction, ServiceClass
from controller.plan import Disposition
from tests.kit.control import catalogue, intent, request

MOVING = intent("moving", actions=(PressureAction.DOWNGRADE,))
STAYING = intent("staying", ServiceClass.CRITICAL, models=("large",), actions=())


def filled(count: int) -> Controller:
    """Return a controller whose large model is full, with `count` requests of each kind behind it."""
    made = Controller(ControllerConfig(catalogue(), IntentSet([MOVING, STAYING])), 0.0)
    for deployment in made.deployments.values():
        deployment.limit.restore(4)
    made.tick(0.0)
    for number in range(count):
        for kind in (MOVING, STAYING):
            made.submit(request(kind, request_id=f"{kind.name}{number}", arrived_s=0.0), 0.0)
    return made


def test_a_bite_is_bounded_and_so_is_a_tick() -> None:
    """A bite at once and one in each part of a tick; what is left over is found again at the next."""
    made = filled(150)
    late = LateRequests()
    late.find(made.deployments.values(), made._queued, 30.0)
    assert len(late.bite(30.0)) == BITE
    assert late.bite(30.0 + BITE_S / 2) == ()
    found = [late.bite(30.0 + BITE_S * part) for part in range(1, 40)]
    assert sum(map(len, found)) == BITE * (BITES_PER_TICK - 1)


def test_who_has_nowhere_to_go_is_not_looked_at() -> None:
    """A request with one rung would only be planned in vain; the most urgent of the others come first."""
    made = filled(3)
    late = LateRequests()
    late.find(made.deployments.values(), made._queued, 30.0)
    found = [name for part in range(9) for name in late.bite(30.0 + part)]
    assert found
    assert all(name.startswith("moving") for name in found)
    late.find(made.deployments.values(), made._queued, 30.0)
    late.clear()
    assert late.bite(30.0) == ()


def test_a_late_request_is_moved_with_its_new_plan() -> None:
    """It leaves under a plan for another rung, and carries what that was made from."""
    made = filled(0)
    for number in range(4):
        made.submit(request(MOVING, request_id=f"first{number}", model="large", arrived_s=0.0), 0.0)
    made.deployments["mid"].limit.restore(64)
    made.deployments["small"].limit.restore(64)
    queued = [
        number
        for number in range(30)
        if made.submit(request(MOVING, request_id=f"r{number}", arrived_s=0.0), 0.0).plan.disposition
        is Disposition.QUEUE
    ]
    if queued:
        made.tick(1.8)
        moved = [item for item in made.poll(1.8) if item.snapshot is not None]
        assert all(item.plan.model != "large" for item in moved)
    assert made.queued + made.in_flight == 34
