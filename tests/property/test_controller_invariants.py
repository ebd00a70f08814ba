"""The invariants I1 to I9 of the controller (docs/control.md), over drawn requests and snapshots."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.core import Controller, ControllerConfig, Expiry, Outcome, replay
from controller.guard import cohort
from controller.intent import IntentSet, PressureAction, ServiceClass
from controller.plan import Cause, Disposition, Mode, Plan, Request, Snapshot, make_plan, plain
from controller.plan.score import BREAKER_OPEN, CONTEXT_EXCEEDED
from tests.kit.control import (
    LADDER,
    any_request,
    any_snapshot,
    catalogue,
    drawn_request,
    drawn_snapshot,
    intent,
    live,
    model_state,
    request,
    snapshot,
)

bounded = settings(derandomize=True, max_examples=300, deadline=None)


@bounded
@given(any_request())
def test_i1_without_pressure_a_feasible_request_passes_unchanged(drawn: Request) -> None:
    """Idle models and no prices: the preferred model, the client's own ceiling, no wait."""
    quiet = request(
        intent(models=drawn.intent.models, service_class=drawn.intent.service_class),
        input_tokens=min(drawn.input_tokens, 8000),
        max_tokens=drawn.max_tokens,
    )
    plan = make_plan(quiet, snapshot())
    assert plan.disposition is Disposition.PASS
    assert plan.cause is Cause.IDENTITY
    assert (plan.model, plan.max_tokens) == (quiet.model, quiet.max_tokens)
    assert not plan.pressed


@bounded
@given(any_request(), any_snapshot())
def test_i2_no_plan_serves_below_the_floor_or_above_the_asked_model(drawn: Request, state: Snapshot) -> None:
    """Whatever presses, the model of a plan is one of the request's own rungs."""
    plan = make_plan(drawn, state)
    assert plan.model in drawn.intent.rungs(drawn.model)
    if not drawn.intent.allows(PressureAction.DOWNGRADE) and plan.model in LADDER:
        assert plan.model == drawn.intent.rungs(drawn.model)[0]


@bounded
@given(any_request(), any_snapshot())
def test_i2_ceilings_are_never_raised_and_caps_need_permission(drawn: Request, state: Snapshot) -> None:
    """The plan's max_tokens is at most the client's and the intent's, and lower only where allowed."""
    plan = make_plan(drawn, state)
    bounds = [bound for bound in (drawn.max_tokens, drawn.intent.max_tokens) if bound is not None]
    if bounds:
        assert plan.max_tokens is not None
        assert plan.max_tokens <= min(bounds)
    if not drawn.intent.allows(PressureAction.CAP_TOKENS):
        assert plan.max_tokens == (min(bounds) if bounds else None)


@bounded
@given(any_request(), any_snapshot())
def test_nothing_is_shed_without_permission(drawn: Request, state: Snapshot) -> None:
    """An intent that does not list `shed` is never refused for load."""
    plan = make_plan(drawn, state)
    if not drawn.intent.allows(PressureAction.SHED):
        assert plan.disposition is not Disposition.SHED or plan.cause is Cause.HARD_BUDGET


@bounded
@example(3714011)
@example(5028565)
@example(10025454)
@example(16907065)
@given(st.integers(0, 2**32))
def test_nothing_waits_at_a_broken_model_while_another_is_reachable(seed: int) -> None:
    """Where nothing may serve a request now, it waits where waiting can help."""
    plan = make_plan(drawn_request(seed), drawn_snapshot(seed))
    if plan.disposition is not Disposition.QUEUE:
        return
    refused = {option.model: option.refused_by for option in plan.options}
    if BREAKER_OPEN in refused.values() and "" in refused.values():
        assert refused[plan.model] != BREAKER_OPEN
    if CONTEXT_EXCEEDED in refused.values() and len(set(refused.values())) > 1:
        assert refused[plan.model] != CONTEXT_EXCEEDED


@bounded
@given(any_request(), any_snapshot())
def test_i3_a_lower_class_never_enters_where_a_higher_one_was_shed(drawn: Request, state: Snapshot) -> None:
    """Within a tick, what enters a model is at least as urgent as what was refused there."""
    plan = make_plan(drawn, state)
    index = state.tick.model_index(plan.model)
    if plan.disposition is Disposition.PASS and index is not None:
        shed = state.live[index].shed_priority
        assert shed is None or plan.priority >= shed


@bounded
@given(any_request(), any_snapshot())
def test_i3_a_class_is_not_shed_for_load_where_a_lower_one_was_admitted(
    drawn: Request, state: Snapshot
) -> None:
    """Within a tick, a refusal for load means that nothing less urgent was let in on any usable rung."""
    plan = make_plan(drawn, state)
    if plan.disposition is not Disposition.SHED or plan.cause is Cause.HARD_BUDGET:
        return
    for option in plan.options:
        index = state.tick.model_index(option.model)
        assert index is not None
        admitted = state.live[index].admitted_priority
        # an option that was refused for the request's own sake is no place where it was displaced
        if option.refused_by and any(not line.refused_by for line in plan.options):
            continue
        assert admitted is None or admitted >= plan.priority


@bounded
@given(any_request(), any_snapshot(), st.floats(0, 100))
def test_i4_the_price_of_money_never_sheds(drawn: Request, state: Snapshot, price: float) -> None:
    """Raising the budget price changes no request from served to refused."""
    before = make_plan(drawn, state)
    priced = tuple(replace(entry, cost_price=entry.cost_price + price) for entry in state.tick.intents)
    after = make_plan(drawn, replace(state, tick=replace(state.tick, intents=priced)))
    if before.disposition is not Disposition.SHED:
        assert after.disposition is not Disposition.SHED


@bounded
@given(any_request(), any_snapshot())
def test_i6_a_plan_is_a_function_of_its_record(drawn: Request, state: Snapshot) -> None:
    """Through JSON and back, the same request and snapshot give the same plan, bit for bit."""
    plan = make_plan(drawn, state)
    stored = json.JSONDecoder().decode(json.dumps({"r": plain(drawn), "s": plain(state), "p": plain(plan)}))
    again = replay(stored["r"], stored["s"], stored["p"])
    assert again.same, again.differs
    assert again.plan == plan


@bounded
@given(any_request(), any_snapshot(), st.integers(0, 2), st.floats(0.01, 20))
def test_i9_a_higher_price_never_attracts_work(
    drawn: Request, state: Snapshot, which: int, rise: float
) -> None:
    """Raising one model's price moves no request to it, and no request on it to more work."""
    state = replace(state, mode=Mode.ACTIVE)
    before = make_plan(drawn, state)
    models = list(state.tick.models)
    models[which] = replace(models[which], price=models[which].price + rise)
    after = make_plan(drawn, replace(state, tick=replace(state.tick, models=tuple(models))))
    if after.disposition is Disposition.SHED or before.disposition is Disposition.SHED:
        return
    raised = models[which].name
    if after.model == raised:
        assert before.model == raised
        assert after.work_s <= before.work_s + 1e-12


@bounded
@given(any_request(), any_snapshot(), st.floats(0.0001, 1))
def test_i9_a_higher_budget_price_never_buys_something_dearer(
    drawn: Request, state: Snapshot, rise: float
) -> None:
    """Raising the budget price never moves a request without a session to a dearer option."""
    drawn = replace(drawn, session=None)
    state = replace(state, mode=Mode.ACTIVE, session_model=None)
    before = make_plan(drawn, state)
    priced = tuple(replace(entry, cost_price=entry.cost_price + rise) for entry in state.tick.intents)
    after = make_plan(drawn, replace(state, tick=replace(state.tick, intents=priced)))
    if Disposition.SHED not in {before.disposition, after.disposition} and len(before.options) > 1:
        assert after.prediction.cost_uusd <= before.prediction.cost_uusd


def _conserved(controller: Controller) -> bool:
    counts = controller.counts
    ended = sum(counts[name] for name in ("completed", "shed", "expired", "failed", "cancelled"))
    return counts["offered"] == ended + controller.queued + controller.in_flight


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("aaaafdctt"), st.integers(0, 30)), max_size=150))
def test_i5_every_request_is_somewhere(script: list[tuple[str, int]]) -> None:
    """Offered = completed + shed + expired + failed + cancelled + queued + in flight, after every call."""
    kinds = (
        intent("premium", ServiceClass.CRITICAL, models=LADDER[:1]),
        intent("standard", models=LADDER[:2]),
        intent("batch", ServiceClass.BATCH),
    )
    small = catalogue()
    controller = Controller(ControllerConfig(small, IntentSet(kinds)), 0.0)
    for deployment in controller.deployments.values():
        deployment.limit.restore(4)
    now_s, flying = 0.0, []
    for index, (what, which) in enumerate(script):
        now_s += which / 50
        if what == "a":
            kind = kinds[which % 3]
            made = controller.submit(
                request(kind, request_id=f"r{index}", arrived_s=now_s, input_tokens=which * 400 + 1), now_s
            )
            if made.plan.disposition is Disposition.PASS:
                flying.append(f"r{index}")
        elif what == "f" and flying:
            controller.first_token(flying[which % len(flying)], now_s)
        elif what == "d" and flying:
            controller.finish(flying.pop(which % len(flying)), Outcome("complete", which + 1), now_s)
        elif what == "c":
            controller.cancel(f"r{which * 3}", now_s)
            flying = [name for name in flying if name != f"r{which * 3}"]
        else:
            controller.tick(now_s)
            controller.expire(now_s)
        for item in controller.poll(now_s):
            if not isinstance(item, Expiry):
                flying.append(item.request_id)
        assert _conserved(controller)
        assert all(deployment.in_flight >= 0 for deployment in controller.deployments.values())


@bounded
@given(st.text(max_size=40))
def test_i6_cohorts_are_spread_by_hash_alone(text: str) -> None:
    """A request's cohort is a number in [0, 1) that depends on its id and nothing else."""
    assert 0.0 <= cohort(text) < 1.0
    assert cohort(text) == cohort(text)


def test_an_exception_in_the_planner_passes_the_request_through() -> None:
    """A snapshot that cannot be evaluated must not touch the request, and the guard hears of it."""
    controller = Controller(ControllerConfig(catalogue(), IntentSet([intent()])), 0.0)
    broken = request(arrived_s=0.0, session="s", input_tokens=10)
    state = controller.state
    poisoned = replace(state.models[0], coefficients=None)  # type: ignore[arg-type]
    controller.state = replace(state, models=(poisoned, *state.models[1:]))
    made = controller.submit(broken, 0.0)
    assert (made.plan.disposition, made.plan.model) == (Disposition.PASS, broken.model)
    assert controller.tally.exception_share > 0.0


def _served_anywhere(plan: Plan) -> bool:
    return plan.disposition in {Disposition.PASS, Disposition.QUEUE}


def test_degradation_follows_the_declared_order() -> None:
    """Rising price: first the next rung, then the floor; only beyond every rung's worth a refusal."""
    batch = intent("batch", ServiceClass.BATCH)
    seen = []
    for price in (0.0, 1.0, 3.0, 10.0, 1000.0):
        models = tuple(
            model_state(name, price=price * share)
            for name, share in zip(LADDER, (1.0, 0.35, 0.1), strict=True)
        )
        plan = make_plan(request(batch), snapshot(models, tuple(live(in_flight=20) for _ in models)))
        seen.append(plan.model if _served_anywhere(plan) else "shed")
    assert seen[0] == "large"
    assert seen[-1] == "shed"
    order = {"large": 0, "mid": 1, "small": 2, "shed": 3}
    assert [order[name] for name in seen] == sorted(order[name] for name in seen)
