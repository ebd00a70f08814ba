"""`controller.plan.explain`: one sentence a step, with the numbers that decided."""

from __future__ import annotations

import pytest

from controller.intent import ServiceClass
from controller.plan import ActionKind, make_plan
from controller.plan.explain import why
from tests.kit.control import drawn_request, drawn_snapshot, intent, live, model_state, request, snapshot


@pytest.mark.parametrize("seed", range(200))
def test_every_plan_says_why(seed: int) -> None:
    """Whatever was decided, there is at least one action, and each has a reason with words in it."""
    plan = make_plan(drawn_request(seed), drawn_snapshot(seed))
    assert plan.actions
    assert all(len(action.reason.split()) >= 3 for action in plan.actions)
    assert why(plan)


def test_a_switch_names_both_models_and_the_numbers() -> None:
    """The sentence can be read aloud: from what, to what, because of what."""
    models = (model_state("large", price=2.0), model_state("mid"), model_state("small"))
    sentence = why(make_plan(request(), snapshot(models, (live(), live(), live()))))
    assert sentence.startswith("switched large -> mid: large P(miss)")
    assert "quality 0.80 instead of 0.92 is allowed" in sentence


def test_a_refusal_says_that_no_rung_is_left() -> None:
    """The floor is named by its models."""
    premium = intent(service_class=ServiceClass.CRITICAL, models=("large",))
    models = (model_state("large", price=900.0), model_state("mid"), model_state("small"))
    plan = make_plan(request(premium), snapshot(models, (live(), live(), live())))
    assert plan.actions[0].kind is ActionKind.SHED
    assert "(large)" in plan.actions[0].reason
