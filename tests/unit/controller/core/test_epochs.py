"""`controller.core.epochs`: which changes become hypotheses, and what a roll-back restores."""

from __future__ import annotations

from controller.core.config import Tuning
from controller.core.deployment import Deployment
from controller.core.epochs import Epochs
from controller.core.steps import RollBack
from controller.plan import ActionKind
from controller.verify import Verdict
from tests.kit.control import catalogue


def built() -> tuple[Epochs, dict[str, Deployment]]:
    """Return epochs over one model."""
    return Epochs(), {"large": Deployment(catalogue()["large"], Tuning())}


def misses(epochs: Epochs, now_s: float, bad: int, good: int) -> None:
    """Count outcomes of requests that prefer the model."""
    for index in range(bad + good):
        epochs.outcome("large", met=index >= bad, now_s=now_s)


def test_a_price_that_crosses_a_band_opens_an_epoch_with_a_hypothesis() -> None:
    """From nothing into a band: one epoch; staying in the band: none."""
    epochs, models = built()
    quiet = epochs.tick(models, 0.0)
    assert (quiet.opened, quiet.closed, quiet.actions) == ((), (), ())
    models["large"].price.reset(0.2)
    (opened,) = epochs.tick(models, 0.5).opened
    assert (opened.kind, opened.model) == ("price_up", "large")
    assert "fewer" in opened.hypothesis
    assert epochs.tick(models, 1.0).opened == ()


def test_a_harmful_price_is_set_back() -> None:
    """Misses rise from 5 to 60 % without more load: harmed, rolled back, suppressed."""
    epochs, models = built()
    misses(epochs, 0.0, 3, 57)
    models["large"].price.reset(0.2)
    epochs.tick(models, 0.5)
    misses(epochs, 19.0, 36, 24)
    ended = epochs.tick(models, 21.0)
    (closed,) = ended.closed
    assert (closed.verdict, closed.rolled_back) == (Verdict.HARMED, True)
    assert ended.rolled_back == (RollBack("large", "price_up", 0.0),)
    assert models["large"].price.value == 0.0
    assert epochs.book.suppressed("large", "price_up", 30.0)


def test_a_limit_that_falls_by_a_fifth_is_another_limit() -> None:
    """Small steps open nothing until they add up, and then they are said in words; a rise opens nothing."""
    epochs, models = built()
    epochs.tick(models, 0.0)
    models["large"].limit.restore(110)
    assert epochs.tick(models, 0.5).opened == ()
    models["large"].limit.restore(100)
    fallen = epochs.tick(models, 1.0)
    assert [(epoch.kind, epoch.before) for epoch in fallen.opened] == [("limit_down", 128.0)]
    (action,) = fallen.actions
    assert (action.kind, action.model) == (ActionKind.BATCHING_REDUCED, "large")
    assert action.reason.startswith("reduced batching on large: at most 100 in flight instead of 128, ")
    models["large"].limit.restore(128)
    assert epochs.tick(models, 1.5).opened == ()
