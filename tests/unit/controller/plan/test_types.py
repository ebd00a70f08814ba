"""`controller.plan.types`: look-ups that must not fail, and the words that records and metrics use."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.guard import GuardMode
from controller.plan import (
    ActionKind,
    Cause,
    Disposition,
    IntentState,
    Mode,
    Option,
    Plan,
    Snapshot,
    TickState,
    make_plan,
)
from controller.plan.types import NO_INTENT_STATE
from tests.kit.control import LADDER, drawn_request, drawn_snapshot, model_state, request, snapshot

QUIET = make_plan(request(), snapshot())


def tick(*intents: IntentState) -> TickState:
    """Return a tick of three models."""
    return TickState(1, 0.0, Mode.ACTIVE, "", tuple(model_state(name) for name in LADDER), intents)


def option(model: str, cap: int | None, **fields: float) -> Option:
    """Return a line of an option table."""
    values: dict[str, float] = dict.fromkeys(Option._fields[2:-1], 1.0)
    return Option(model, cap, **{**values, **fields})  # type: ignore[arg-type]


def test_a_model_is_found_at_its_place() -> None:
    """The index is the one that `live` is ordered by; a model that is not there is None, never the last."""
    assert [tick().model_index(name) for name in LADDER] == [0, 1, 2]
    assert tick().model_index("elsewhere") is None
    assert tick().model_index("") is None


def test_an_unknown_intent_has_no_price() -> None:
    """An intent that no tick has seen yet weighs once and pays nothing."""
    known = IntentState("chat", 1.4, 0.002)
    assert tick(IntentState("other", 1.0, 0.0), known).intent("chat") is known
    assert tick(known).intent("new") is NO_INTENT_STATE
    assert (NO_INTENT_STATE.burn, NO_INTENT_STATE.cost_price) == (1.0, 0.0)


@settings(derandomize=True, max_examples=80, deadline=None)
@given(st.integers(0, 2**32))
def test_what_was_chosen_is_a_line_of_the_table(seed: int) -> None:
    """Model and cap are those of a line, which was refused only where none was open. No table, no line."""
    seen = drawn_snapshot(seed)
    plan = make_plan(drawn_request(seed), seen)
    chosen = plan.chosen
    if not plan.options:
        assert chosen is None
    elif plan.disposition is not Disposition.SHED:
        assert chosen in plan.options
        assert chosen is not None
        assert (chosen.model, chosen.max_tokens) == (plan.model, plan.max_tokens)
        shed = {m.name: live.shed_priority for m, live in zip(seen.tick.models, seen.live, strict=True)}
        barred = {name for name, above in shed.items() if above is not None and plan.priority < above}
        assert not chosen.refused_by or all(line.refused_by or line.model in barred for line in plan.options)


def test_the_cap_tells_lines_of_a_model_apart() -> None:
    """No cap and a cap of the same model are two lines, and the right one is found."""
    free, capped, other = option("large", None), option("large", 64), option("mid", 64)
    table = dataclasses.replace(QUIET, options=(free, capped, other))
    assert dataclasses.replace(table, model="large", max_tokens=64).chosen is capped
    assert dataclasses.replace(table, model="large", max_tokens=None).chosen is free
    assert dataclasses.replace(table, model="mid", max_tokens=64).chosen is other
    assert dataclasses.replace(table, model="mid", max_tokens=None).chosen is None
    assert dataclasses.replace(table, options=()).chosen is None


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.floats(0, 1e6))
def test_money_has_no_part_in_the_standing(cost: float) -> None:
    """An option that costs more, and is worth less for it, stands as before: I4 rests on that."""
    line = option("large", None, gain=3.0, load_term=1.25, cost_term=cost, utility=1.75 - cost)
    assert line.standing == 1.75


def test_every_guard_mode_is_a_mode() -> None:
    """The controller turns the guard's mode into the planner's by its value."""
    assert {Mode(mode.value).value for mode in GuardMode} == {mode.value for mode in GuardMode}
    assert {mode.value for mode in Mode} - {mode.value for mode in GuardMode} == {"shadow"}


@pytest.mark.parametrize(
    ("words", "pattern"),
    [(Mode, "[a-z]+"), (Disposition, "[a-z]+"), (Cause, "[a-z_]+"), (ActionKind, "[A-Z_]+")],
)
def test_words_are_safe_in_metrics_and_records(words: type[Mode], pattern: str) -> None:
    """Each value is one bare word, no two are the same, and a value reads back as its member."""
    values = [word.value for word in words]
    assert len(set(values)) == len(values)
    for value in values:
        assert re.fullmatch(pattern, value)
        assert words(value).value == value


def test_requests_carry_no_text() -> None:
    """A request's fields are counts, times, names and its intent: there is no place for a prompt."""
    texts = {field.name for field in dataclasses.fields(request()) if "str" in str(field.type)}
    assert texts == {"request_id", "model", "tenant", "route", "session", "without"}


@pytest.mark.parametrize("value", [QUIET, snapshot(), request(), tick()])
def test_values_are_frozen(value: Plan | Snapshot) -> None:
    """Nothing that a decision was made from, or that it concluded, can be changed afterwards."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, "other")
    assert not hasattr(value, "__dict__")
