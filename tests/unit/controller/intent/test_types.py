"""`controller.intent.types`."""

from __future__ import annotations

from controller.intent import PressureAction
from tests.kit.control import LADDER, intent


def test_rungs_start_at_the_asked_model_and_end_at_the_floor() -> None:
    """Never above what was asked for; `auto` is the whole ladder; a stranger is served by itself."""
    drawn = intent(models=LADDER)
    assert drawn.rungs("large") == LADDER
    assert drawn.rungs("mid") == ("mid", "small")
    assert drawn.rungs("auto") == LADDER
    assert drawn.rungs("elsewhere") == ("elsewhere",)


def test_without_permission_there_is_one_rung() -> None:
    """An intent that does not list `downgrade` is served by what was asked for."""
    drawn = intent(models=LADDER, actions=(PressureAction.SHED,))
    assert drawn.rungs("large") == ("large",)
    assert drawn.rungs("auto") == ("large",)
