"""`controller.core`: one controller from request to settlement."""

from __future__ import annotations

from controller.core import Condition, Controller, ControllerConfig, Expiry, Outcome, Release
from controller.guard import GuardMode
from controller.intent import Budget, IntentSet, Latency, ServiceClass
from controller.plan import Disposition, Mode, plain
from controller.plan import digest as digest_of
from tests.kit.control import catalogue, intent, request

CHAT = intent(latency=Latency(ttft_ms=500.0, e2e_ms=10_000.0))
PREMIUM = intent("premium", ServiceClass.CRITICAL, models=("large",))


def controller(*intents: object) -> Controller:
    """Return a fresh controller."""
    kinds = intents or (CHAT, PREMIUM)
    return Controller(ControllerConfig(catalogue(), IntentSet(kinds)), 0.0)  # type: ignore[arg-type]


def ask(name: str, now_s: float, kind: object = CHAT, **fields: object) -> object:
    """Return a request that arrives now."""
    return request(kind, request_id=name, arrived_s=now_s, **fields)  # type: ignore[arg-type]


def narrow(made: Controller) -> None:
    """Let at most four requests be in flight on the large model."""
    made.deployments["large"].limit.restore(4)
    made.tick(0.0)


def test_a_quiet_request_is_passed_and_settled() -> None:
    """Sent at once, measured against its prediction, counted as good."""
    made = controller()
    plan = made.submit(ask("r", 1.0), 1.0).plan  # type: ignore[arg-type]
    assert plan.disposition is Disposition.PASS
    made.first_token("r", 1.1)
    settled = made.finish("r", Outcome("complete", 50), 2.0)
    assert settled is not None
    assert (settled.met, settled.missed, settled.output_tokens) == (True, (), 50)
    assert settled.ttft_ratio is not None
    assert made.in_flight == 0
    assert made.finish("r", Outcome("complete"), 3.0) is None


def test_misses_name_their_targets() -> None:
    """A late first token and a late answer are two misses; a failure is its status."""
    made = controller()
    made.submit(ask("slow", 0.0), 0.0)  # type: ignore[arg-type]
    made.first_token("slow", 1.0)
    slow = made.finish("slow", Outcome("complete", 50), 11.0)
    made.submit(ask("broken", 20.0), 20.0)  # type: ignore[arg-type]
    broken = made.finish("broken", Outcome("failed"), 20.5)
    assert slow is not None
    assert broken is not None
    assert slow.missed == ("ttft", "e2e")
    assert (broken.met, broken.missed) == (False, ("failed",))


def test_a_full_model_queues_by_priority_and_releases() -> None:
    """With no slot free requests wait, and the more urgent one leaves first."""
    made = controller()
    narrow(made)
    only = intent(models=("large",))
    for index in range(4):
        made.submit(ask(f"f{index}", 0.0, only), 0.0)  # type: ignore[arg-type]
    first = made.submit(ask("low", 0.0, only), 0.0)  # type: ignore[arg-type]
    second = made.submit(ask("high", 0.0, PREMIUM), 0.0)  # type: ignore[arg-type]
    assert first.plan.disposition is second.plan.disposition is Disposition.QUEUE
    assert made.poll(0.1) == ()
    made.finish("f0", Outcome("complete", 10), 0.2)
    (released,) = made.poll(0.2)
    assert isinstance(released, Release)
    assert released.request_id == "high"


def test_what_is_too_late_expires_unsent() -> None:
    """A queued request whose deadline has passed costs the backend nothing."""
    made = controller()
    narrow(made)
    only = intent(models=("large",))
    for index in range(5):
        made.submit(ask(f"r{index}", 0.0, only), 0.0)  # type: ignore[arg-type]
    (expired,) = made.expire(30.0)
    assert isinstance(expired, Expiry)
    assert expired.request_id == "r4"
    assert "deadline" in expired.reason
    assert made.counts["expired"] == 1


def test_a_client_that_leaves_is_forgotten_wherever_it_is() -> None:
    """Queued or in flight, nothing of it remains, and it is nobody's miss."""
    made = controller()
    narrow(made)
    only = intent(models=("large",))
    for index in range(5):
        made.submit(ask(f"r{index}", 0.0, only), 0.0)  # type: ignore[arg-type]
    assert made.cancel("r4", 1.0) is not None
    assert made.cancel("r0", 1.0) is not None
    assert made.cancel("r0", 1.0) is None
    assert (made.queued, made.in_flight, made.counts["cancelled"]) == (0, 3, 2)


def test_a_running_request_that_is_late_counts_before_it_ends() -> None:
    """A stalled backend must not look healthy: the miss is booked at the tick, once."""
    made = controller()
    made.submit(ask("r", 0.0), 0.0)  # type: ignore[arg-type]
    made.tick(5.0)
    made.tick(5.5)
    assert made.accounts["chat"].miss_share(5.5) == (1, 1)
    made.finish("r", Outcome("complete", 5), 6.0)
    assert made.accounts["chat"].miss_share(6.0) == (1, 1)


def test_shadow_plans_and_passes() -> None:
    """In shadow mode the plan is made and shown, and the request goes as it came."""
    made = controller()
    made.deployments["large"].price.reset(50.0)
    made.state = made._publish(0.0)
    made.set_mode(Mode.SHADOW, 0.0)
    submission = made.submit(ask("r", 0.0), 0.0)  # type: ignore[arg-type]
    assert submission.plan.model == "large"
    assert submission.shadow is not None
    assert submission.shadow.model == "mid"


def test_bypass_and_back() -> None:
    """The operator's bypass passes everything, and active resets a tripped guard."""
    made = controller()
    made.guard.trip(GuardMode.GUARDED, "test", 0.0)
    change = made.set_mode(Mode.BYPASS, 1.0)
    assert change.reason == "set to bypass by the operator"
    assert made.submit(ask("r", 1.0), 1.0).plan.cause.value == "bypass"  # type: ignore[arg-type]
    made.set_mode(Mode.ACTIVE, 2.0)
    assert made.guard.mode is GuardMode.ACTIVE


def test_new_intents_take_effect_and_keep_unchanged_accounts() -> None:
    """Replacing the set changes the digest in the next state; the books of an equal intent go on."""
    made = controller()
    books, before = made.accounts["premium"], made.state.config_digest
    made.replace_intents(IntentSet([PREMIUM, intent("new")]), 1.0)
    assert made.accounts["premium"] is books
    assert set(made.accounts) == {"premium", "new"}
    assert made.state.config_digest != before


def test_reports_say_unknown_until_there_is_enough() -> None:
    """Twenty requests make a condition; refused ones count as bad."""
    made = controller()
    assert made.reports(0.0)[0].condition is Condition.UNKNOWN
    for index in range(30):
        now_s = index * 1.0
        made.submit(ask(f"r{index}", now_s), now_s)  # type: ignore[arg-type]
        made.first_token(f"r{index}", now_s + 0.1)
        made.finish(f"r{index}", Outcome("complete", 10), now_s + (0.5 if index % 3 else 11.0))
    report = made.reports(30.0)[0]
    assert (report.requests, report.good) == (30, 20)
    assert report.condition is Condition.VIOLATED
    assert report.error_budget_left is not None
    assert report.error_budget_left < 0


def test_spending_is_reserved_and_settled() -> None:
    """A hard budget shrinks when a request is sent and is corrected by its usage."""
    budgeted = intent(budget=Budget(0.01, 3600.0, hard=True))
    made = controller(budgeted)
    first = made.submit(ask("r", 0.0, budgeted), 0.0)  # type: ignore[arg-type]
    assert first.snapshot.budget_left_uusd == 10_000
    reserved = made.accounts["chat"].hard_left_uusd(0.5)
    assert reserved == 10_000 - first.plan.reserve_uusd
    made.finish("r", Outcome("complete", 1), 1.0)
    settled = made.accounts["chat"].hard_left_uusd(1.5)
    assert settled is not None
    assert reserved < settled < 10_000


def test_a_tick_publishes_what_plans_are_made_from() -> None:
    """The state of a tick is a plain value with a digest, shared by its plans."""
    made = controller()
    report = made.tick(0.5)
    assert report.idle
    assert report.state is made.submit(ask("r", 0.6), 0.6).snapshot.tick  # type: ignore[arg-type]
    assert digest_of(report.state) == digest_of(report.state)
    assert plain(report.state)["number"] == 1


def test_a_hard_budget_holds_within_a_tick() -> None:
    """Money of a request that is sent or waits is gone for the next one at once, and comes back with it."""
    budgeted = intent(budget=Budget(0.006, 3600.0, hard=True), models=("large",), actions=())
    made = controller(budgeted)
    narrow(made)
    seen = [made.submit(ask(f"r{n}", 0.0, budgeted), 0.0) for n in range(9)]  # type: ignore[arg-type]
    plans = [submission.plan for submission in seen]
    served = [plan for plan in plans if plan.disposition is not Disposition.SHED]
    reserved = sum(plan.reserve_uusd for plan in served)
    assert {plan.disposition for plan in plans[:5]} == {Disposition.PASS, Disposition.QUEUE}
    assert plans[-1].disposition is Disposition.SHED
    assert reserved <= 6000 < reserved + plans[-1].reserve_uusd
    queued = next(plan for plan in plans if plan.disposition is Disposition.QUEUE)
    before = made.accounts["chat"].hard_left_uusd(0.0)
    made.cancel(queued.request_id, 0.0)
    assert made.accounts["chat"].hard_left_uusd(0.0) == (before or 0) + queued.reserve_uusd


def test_a_queued_request_does_not_pass_who_was_shed_in_this_tick() -> None:
    """A slot that comes free right after a refusal is not for a less urgent one (I3)."""
    batch = intent("batch", ServiceClass.BATCH, models=("large",), actions=())
    made = controller(CHAT, batch)
    narrow(made)
    for number in range(5):
        made.submit(ask(f"b{number}", 0.0, batch), 0.0)  # type: ignore[arg-type]
    assert made.queued == 1
    made.deployments["large"].shed_priority = 3
    made.finish("b0", Outcome("complete", 5), 0.1)
    assert made.poll(0.1) == ()
    made.tick(0.5)
    assert [item.request_id for item in made.poll(0.5)] == ["b4"]
