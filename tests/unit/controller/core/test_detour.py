"""`controller.core.detour`: another model for a request that was sent in vain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import Controller, ControllerConfig, Outcome, detour, divert, flight_of, replay
from controller.intent import Budget, Intent, IntentSet, Latency, PressureAction
from controller.plan import ActionKind, Mode, plain
from tests.kit.control import catalogue, intent, request

CHAT = intent(latency=Latency(ttft_ms=500.0, e2e_ms=10_000.0))


def sent(kind: Intent = CHAT, *, tokens: int = 500) -> Controller:
    """A controller with the request `r` in flight on `large`."""
    made = Controller(ControllerConfig(catalogue(), IntentSet((kind,))), 0.0)
    made.submit(request(kind, request_id="r", arrived_s=1.0, input_tokens=tokens), 1.0)
    assert flight_of(made, "r") is not None
    return made


def test_the_next_rung_takes_over() -> None:
    """Down the ladder, one failed model after the other, each said in a sentence; then there is nobody."""
    made = sent()
    names = []
    without: list[str] = ["large"]
    while (found := detour(made, "r", without, 1.1)) is not None:
        names.append(found.plan.model)
        [action] = found.plan.actions
        assert action.kind is ActionKind.MODEL_SWITCHED
        assert action.reason == (
            f"switched large -> {found.plan.model}: {' and '.join(sorted(without))} gave no answer, "
            "and the floor allows it"
        )
        without.append(found.plan.model)
    assert names == ["mid", "small"]


def test_a_detour_alone_changes_nothing() -> None:
    """It is a question: what is in flight, priced and counted stays as it was."""
    made = sent()
    before = (plain(made.snapshot(request(CHAT), 1.0)), dict(made.counts), made.in_flight)
    assert detour(made, "r", ["large"], 1.0) is not None
    assert before == (plain(made.snapshot(request(CHAT), 1.0)), dict(made.counts), made.in_flight)
    assert flight_of(made, "nobody") is None
    assert detour(made, "nobody", ["large"], 1.0) is None


@pytest.mark.parametrize(
    "kind",
    [
        replace(CHAT, on_pressure=(PressureAction.CAP_TOKENS,)),
        replace(CHAT, models=("large",)),
    ],
)
def test_the_floor_and_the_permission_hold(kind: Intent) -> None:
    """Where the intent permits no downgrade, and below its floor, nobody takes over."""
    assert detour(sent(kind), "r", ["large"], 1.1) is None


def test_nobody_waits_for_a_detour() -> None:
    """A rung without a free slot is no way out: the queue is for those that have not been sent."""
    made = sent(replace(CHAT, models=("large", "mid")))
    made.deployments["mid"].limit.restore(1)
    made.deployments["mid"].in_flight = 1
    made.tick(1.05)
    assert detour(made, "r", ["large"], 1.1) is None


def test_a_hard_budget_holds() -> None:
    """A model that the budget does not pay for does not take over."""
    kind = replace(CHAT, models=("large", "mid"), budget=Budget(1e-9, 60.0, hard=True))
    free = Controller(ControllerConfig(catalogue(), IntentSet((CHAT,))), 0.0)
    free.submit(request(CHAT, request_id="r", arrived_s=1.0), 1.0)
    free.replace_intents(IntentSet((kind,)), 1.0)
    flight = flight_of(free, "r")
    assert flight is not None
    flight.request = replace(flight.request, intent=kind)
    assert detour(free, "r", ["large"], 1.1) is None


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.BYPASS])
def test_who_only_watches_diverts_nobody(mode: Mode) -> None:
    """In shadow and in bypass no model is switched, also not for a further attempt."""
    made = sent()
    made.set_mode(mode, 1.0)
    assert detour(made, "r", ["large"], 1.1) is None


def test_a_detour_replays() -> None:
    """The plan is made again from its request, which names what had failed, and its snapshot."""
    found = detour(sent(), "r", ["large"], 1.1)
    assert found is not None
    assert found.request.without == ("large",)
    assert replay(plain(found.request), plain(found.snapshot), plain(found.plan)).same


@pytest.mark.parametrize("failed", [True, False])
def test_a_diverted_request_moves_whole(failed: bool) -> None:
    """One slot is given back and one taken, the money with it; it is judged once, from its arrival."""
    made = sent()
    old = flight_of(made, "r")
    found = detour(made, "r", ["large"], 1.4)
    assert found is not None
    assert old is not None
    old.late = True
    divert(made, found.plan, failed=failed, now_s=1.4)
    new = flight_of(made, "r")
    assert new is not None
    assert (new.model, new.late, new.request.arrived_s) == ("mid", True, 1.0)
    assert (made.deployments["large"].in_flight, made.deployments["mid"].in_flight, made.in_flight) == (
        0,
        1,
        1,
    )
    assert (made.deployments["large"].prefill_tokens, made.counts["failed"]) == (0, 0)
    account = made.accounts["chat"]
    assert account.counts["downgraded"] == 1
    assert account.counts["failed"] == 0
    spent = account.report(1.4).spend_usd
    assert spent == pytest.approx(new.cost_uusd / 1e6)
    settled = made.finish("r", Outcome("complete", 50, input_tokens=500), 2.0)
    assert settled is not None
    assert (settled.model, settled.e2e_s) == ("mid", 1.0)
    assert (made.counts["completed"], made.in_flight) == (1, 0)


def test_a_model_that_fails_many_is_told_by_its_breaker() -> None:
    """Requests that go elsewhere count against the model that failed them."""
    made = sent()
    for number in range(20):
        name = f"r{number}"
        made.submit(request(CHAT, request_id=name, arrived_s=1.0), 1.0)
        if flight_of(made, name) is None or flight_of(made, name).model != "large":  # type: ignore[union-attr]
            break
        found = detour(made, name, ["large"], 1.0)
        assert found is not None
        divert(made, found.plan, failed=True, now_s=1.0)
    assert not made.deployments["large"].breaker.usable(1.0)
