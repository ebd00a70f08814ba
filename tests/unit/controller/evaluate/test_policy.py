"""`controller.evaluate.policy`: what the runner drives, and the controller as one of them."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from controller.core import ControllerConfig, Outcome
from controller.core.events import Submission
from controller.evaluate.policy import Controlled, Policy, Refuse, Send
from controller.evaluate.scenarios import POLICIES, SCENARIOS, make_policy
from controller.evaluate.split import candidates
from controller.intent import Budget, Intent, IntentSet
from controller.plan import Disposition, Request
from tests.kit.control import catalogue, intent, request

ONLY = intent(models=("large",))
BROKE = intent("broke", budget=Budget(0.0000001, 3600.0, hard=True))


def policy(*, slots: int = 4, keep_plans: bool = False) -> Controlled:
    """Return the controller as a policy, with `slots` requests of the large model at once."""
    made = Controlled(ControllerConfig(catalogue(), IntentSet([ONLY, BROKE])), "ours", keep_plans=keep_plans)
    made.controller.deployments["large"].limit.restore(slots)
    made.tick(0.0)
    return made


def ask(name: str, kind: Intent = ONLY) -> Request:
    """Return a request at time 0."""
    return request(kind, request_id=name, arrived_s=0.0)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_has_the_ports_shape(name: str) -> None:
    """Each policy is called by its name, takes what the runner hands in, and has nothing to do at first."""
    made = make_policy(name, SCENARIOS["base"], next(candidates()))
    assert made.name == name
    for member, port in inspect.getmembers(Policy, inspect.isfunction):
        if not member.startswith("_"):
            assert inspect.signature(getattr(type(made), member)) == inspect.signature(port), member
    made.tick(0.5)
    assert made.take(0.5) == []


def test_what_passes_is_sent_at_once_and_only_once() -> None:
    """The command names the request, the plan's model and cap; taking it empties the list."""
    made = policy()
    made.arrive(ask("a"), 0.0)
    plan = made.plans["a"]
    assert plan.disposition is Disposition.PASS
    assert made.take(0.0) == [Send("a", plan.model, plan.max_tokens)]
    assert made.take(0.0) == []


def test_what_is_shed_is_refused_with_a_time_to_come_back() -> None:
    """A request over its hard budget is refused, is never sent, and is told the plan's retry time."""
    made = policy()
    made.arrive(ask("b", BROKE), 0.0)
    (refused,) = made.take(0.0)
    assert refused == Refuse("b", "shed", made.plans["b"].retry_after_s)
    assert isinstance(refused, Refuse)
    assert refused.retry_after_s > 0
    assert made.controller.in_flight == 0


def test_what_is_queued_leaves_when_a_slot_is_free() -> None:
    """The fifth of four slots waits, and is sent under its newest plan once one has ended."""
    made = policy()
    for index in range(5):
        made.arrive(ask(f"r{index}"), 0.0)
    assert [command.request_id for command in made.take(0.0)] == ["r0", "r1", "r2", "r3"]
    made.first_token("r0", 0.2)
    made.ended("r0", Outcome("complete", 5), 0.4)
    (sent,) = made.take(0.4)
    assert sent == Send("r4", made.plans["r4"].model, made.plans["r4"].max_tokens)
    assert made.controller.in_flight == 4


def test_what_was_planned_anew_is_sent_and_kept_under_the_new_plan() -> None:
    """A queued request that a tick moved to another model goes there, and that plan is the one on record."""
    chat = intent()
    made = Controlled(ControllerConfig(catalogue(), IntentSet([chat])))
    limits = [deployment.limit for deployment in made.controller.deployments.values()]
    for limit in limits:
        limit.restore(4)
    made.tick(0.0)
    for index in range(13):
        made.arrive(ask(f"r{index}", chat), 0.0)
    made.take(0.0)
    before = dict(made.plans)
    for limit in limits:
        limit.restore(64)
    made.tick(1.5)
    sends = [command for command in made.take(1.5) if isinstance(command, Send)]
    assert any(command.model != before[command.request_id].model for command in sends)
    for command in sends:
        plan = made.plans[command.request_id]
        assert (command.model, command.max_tokens) == (plan.model, plan.max_tokens)


@pytest.mark.parametrize("how", ["tick", "poll"])
def test_what_waited_too_long_is_refused_once(how: str) -> None:
    """Whether a tick or a free slot finds it late, the request is told `expired`, and is not sent."""
    made = policy()
    for index in range(5):
        made.arrive(ask(f"r{index}"), 0.0)
    made.take(0.0)
    if how == "tick":
        made.tick(30.0)
    else:
        made.ended("r0", Outcome("complete", 5), 30.0)
    assert made.take(30.0) == [Refuse("r4", "expired", 1.0)]
    made.tick(30.5)
    assert made.take(30.5) == []


def test_first_tokens_reach_the_controller() -> None:
    """The settlement of a request knows when its first token came."""
    made = policy()
    made.arrive(ask("a"), 0.0)
    made.first_token("a", 0.3)
    settled = made.controller.finish("a", Outcome("complete", 5), 1.0)
    assert settled is not None
    assert settled.ttft_s == pytest.approx(0.3)


def test_submissions_are_kept_where_asked_for() -> None:
    """A long run keeps plans and ticks only; snapshots are kept on demand."""
    lean, full = policy(), policy(keep_plans=True)
    for made in (lean, full):
        made.arrive(ask("a"), 0.0)
        made.tick(0.5)
        assert set(made.plans) == {"a"}
        assert [report.state.number for report in made.ticks] == [1, 2]
    assert lean.submissions == []
    (kept,) = full.submissions
    assert isinstance(kept, Submission)
    assert kept.plan == full.plans["a"]


def test_commands_are_values() -> None:
    """Equal commands are equal, which is what the comparisons above rest on."""
    send = Send("a", "large", 64)
    assert send == Send("a", "large", 64, None)
    assert send != replace(send, max_tokens=None)
    assert Refuse("a", "shed", 1.0) != Refuse("a", "expired", 1.0)
