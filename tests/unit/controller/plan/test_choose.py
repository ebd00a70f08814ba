"""`controller.plan.choose`: what the table leads to, case by case."""

from __future__ import annotations

from dataclasses import replace

from controller.intent import Budget, Latency, PressureAction, ServiceClass
from controller.plan import ActionKind, Cause, Disposition, IntentState, Mode, Snapshot, make_plan
from tests.kit.control import LADDER, intent, live, model_state, request, snapshot


def pressed(large: dict[str, object], live_large: dict[str, object] | None = None) -> Snapshot:
    """Return a snapshot in which the large model is under pressure."""
    models = (model_state("large", **large), model_state("mid"), model_state("small"))
    return snapshot(models, (live(**(live_large or {})), live(), live()))


def test_a_price_moves_a_request_to_the_next_rung() -> None:
    """With a price on the large model the mid one serves, and the record says why."""
    plan = make_plan(request(), pressed({"price": 2.0}))
    assert (plan.model, plan.disposition, plan.cause) == ("mid", Disposition.PASS, Cause.LATENCY_PRICE)
    assert plan.actions[0].kind is ActionKind.MODEL_SWITCHED
    assert "large -> mid" in plan.actions[0].reason
    assert plan.pressed
    assert len(plan.options) == 9


def test_a_late_first_token_moves_a_request() -> None:
    """Twenty seconds of work ahead of it: the large model is refused as too late."""
    busy = {"in_flight": 64, "queued": 100, "ahead": ((3, 20.0),)}
    plan = make_plan(request(), pressed({}, busy))
    assert (plan.model, plan.cause) == ("mid", Cause.INFEASIBLE)
    assert "too late" in plan.options[0].refused_by


def test_lower_classes_ahead_do_not_count() -> None:
    """A premium request does not wait for batch work in the queue, only for a free slot."""
    busy = {"in_flight": 64, "queued": 100, "ahead": ((-1, 20.0),)}
    premium = intent(service_class=ServiceClass.CRITICAL, models=("large",))
    plan = make_plan(request(premium), pressed({}, busy))
    assert plan.disposition is Disposition.QUEUE
    assert plan.prediction.wait_s < 1.0


def test_an_open_breaker_fails_over() -> None:
    """An unreachable large model is replaced within the floor."""
    plan = make_plan(request(), pressed({"usable": False}))
    assert (plan.model, plan.cause) == ("mid", Cause.BREAKER)


def test_no_reachable_rung_is_a_refusal_with_advice() -> None:
    """A premium request whose only model is down is shed with Retry-After; one that half works is tried."""
    premium = intent(service_class=ServiceClass.CRITICAL, models=("large",))
    limited = make_plan(request(premium), pressed({"usable": False, "failure_share": 0.6}))
    assert (limited.disposition, limited.cause) == (Disposition.PASS, Cause.BREAKER)
    plan = make_plan(request(premium), pressed({"usable": False, "failure_share": 1.0}))
    assert (plan.disposition, plan.cause) == (Disposition.SHED, Cause.BREAKER)
    assert plan.retry_after_s >= 1.0


def test_the_ceiling_per_request_is_a_filter() -> None:
    """A request that is too dear on the large model is served by one that is not."""
    frugal = intent(usd_per_request_max=0.0004)
    plan = make_plan(request(frugal), pressed({}))
    assert plan.model == "mid"
    assert plan.cause is Cause.HARD_BUDGET


def test_an_empty_hard_budget_refuses_and_an_empty_soft_one_does_not() -> None:
    """Cost refuses only where the intent says hard."""
    hard = intent(budget=Budget(1.0, 60.0, hard=True), actions=(PressureAction.DOWNGRADE,))
    plan = make_plan(request(hard), snapshot(budget_left_uusd=0))
    assert (plan.disposition, plan.cause) == (Disposition.SHED, Cause.HARD_BUDGET)
    soft = (IntentState("chat", 1.0, 10.0),)
    plan = make_plan(request(), snapshot(intents=soft))
    assert (plan.disposition, plan.cause) == (Disposition.PASS, Cause.COST_PRICE)
    assert plan.model == "small"


def test_a_session_keeps_its_model_for_a_small_gain() -> None:
    """A tenth of the request's value is what it takes to change the model of a conversation."""
    state = pressed({"price": 2.0})
    fresh = make_plan(request(), state)
    assert fresh.model == "mid"
    stays = make_plan(request(session="s"), replace(state, session_model="large"))
    assert stays.model == "large"


def test_guarded_means_no_downgrade_but_failover() -> None:
    """Guarded mode keeps the preferred model at any price, unless it cannot be reached."""
    guarded = replace(pressed({"price": 9.0}), mode=Mode.GUARDED)
    assert make_plan(request(intent(actions=(PressureAction.DOWNGRADE,))), guarded).model == "large"
    down = replace(pressed({"usable": False}), mode=Mode.GUARDED)
    assert make_plan(request(), down).model == "mid"


def test_bypass_evaluates_nothing() -> None:
    """In bypass the request passes although everything is on fire, and no table is made."""
    fire = replace(pressed({"price": 9.0, "usable": False}), mode=Mode.BYPASS)
    plan = make_plan(request(), fire)
    assert (plan.model, plan.disposition, plan.options) == ("large", Disposition.PASS, ())


def test_what_would_miss_on_an_idle_system_is_not_refused() -> None:
    """A target that no model can meet is served as asked while nothing presses."""
    impossible = intent(latency=Latency(ttft_ms=1.0))
    plan = make_plan(request(impossible), snapshot())
    assert plan.disposition is Disposition.PASS


def test_deferrable_work_is_held_until_there_is_room() -> None:
    """Near the set point a deferrable request waits, with a latest start; with room it goes at once."""
    late = intent(latency=Latency(e2e_ms=60_000.0))
    busy = make_plan(request(late, deferrable=True), pressed({"load_error": 0.0}))
    assert busy.disposition is Disposition.HOLD
    assert 30.0 < busy.hold_until_s - 10.0 <= 60.0
    calm = make_plan(request(late, deferrable=True), pressed({"load_error": -0.6}))
    assert calm.disposition is Disposition.PASS


def test_a_cap_is_chosen_where_the_tail_is_what_costs() -> None:
    """With one rung, scarce work and a long tail, the tail is cut, and the saving is said."""
    long_tail = tuple([20.0] * 17 + [4000.0] * 6)
    only = intent(models=("large",), actions=(PressureAction.CAP_TOKENS,))
    models = (model_state("large", price=30.0), model_state("mid"), model_state("small"))
    plan = make_plan(request(only, input_tokens=10), snapshot(models, lengths=long_tail))
    assert plan.max_tokens is not None
    assert any(action.kind is ActionKind.TOKENS_CAPPED for action in plan.actions)


def test_a_model_that_nobody_configured_passes() -> None:
    """It is not ours to judge."""
    plan = make_plan(request(intent(models=()), model="elsewhere"), snapshot())
    assert (plan.model, plan.disposition) == ("elsewhere", Disposition.PASS)
    assert LADDER[0] not in plan.actions[0].reason
