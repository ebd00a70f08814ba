"""Plots: each is a PNG, misses do not break them, and the controller's is there only with a controller."""

from __future__ import annotations

from controller.evaluate.arms.data import Moment
from controller.evaluate.arms.pictures import draw
from tests.kit.arms import arm, comparison, missed, offered

MOMENTS = (
    Moment(1.0, "active", 0, 1, {"large": 0.0}, {"large": 8}),
    Moment(12.0, "active", 3, 8, {"large": 1.5}, {"large": 6}),
)


def test_every_question_has_its_plot() -> None:
    """Eight plots with a controller, seven without; four arms take a second row."""
    items = (offered(1, 1.0), missed(2, 12.0), offered(3, 13.0, service="batch", met=False, ttft_s=50.0))
    names = [one.name for one in draw(comparison(arm("controlled", *items, moments=MOMENTS)))]
    assert names == ["arrivals", "ttft", "e2e", "attainment", "cost", "models", "pressure", "control"]
    many = comparison(*(arm(f"arm{index}", *items) for index in range(4)), services=())
    pictures = draw(many)
    assert len(pictures) == 7
    assert all(one.png.startswith(b"\x89PNG") for one in pictures)


def test_an_arm_without_requests_is_drawn() -> None:
    """A run that ended before its first answer still has its plots."""
    assert len(draw(comparison(arm("none")))) == 7
