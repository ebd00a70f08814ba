"""`controller.core.vitals`: the worst sign of all models."""

from __future__ import annotations

from controller.core.account import Account
from controller.core.config import Tuning
from controller.core.deployment import Deployment
from controller.core.epochs import Epochs
from controller.core.state import Tally
from controller.core.vitals import vitals_of
from controller.guard import Vitals
from tests.kit.control import catalogue, intent


def test_nothing_known_is_nothing_wrong() -> None:
    """A fresh controller has no vital sign that could trip."""
    models = {"large": Deployment(catalogue()["large"], Tuning())}
    assert vitals_of(models, {}, Epochs(), Tally(), 0.0) == Vitals()


def test_the_worst_model_speaks() -> None:
    """The ratio furthest from 1 is shown, demand above capacity is an overload, misses need twenty."""
    models = {name: Deployment(catalogue()[name], Tuning()) for name in ("large", "mid")}
    for _ in range(60):
        models["large"].check.add(1.0, 1.5, 1.1)
        models["mid"].check.add(1.0, 1.5, 3.0)
        models["mid"].prefers(1.0, 0.0)
    account = Account(intent())
    for index in range(20):
        account.settled(met=index > 4, now_s=0.0)
    vitals = vitals_of(models, {"chat": account}, Epochs(), Tally(), 0.0)
    assert (vitals.median_ratio, vitals.overloaded, vitals.miss_share) == (3.0, True, 0.25)
