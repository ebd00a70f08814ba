"""`controller.core.settle`: which targets were missed, and prediction against observation."""

from __future__ import annotations

from controller.core.deployment import Flight
from controller.core.events import Outcome
from controller.core.settle import cost_of, cut_by_us, missed_targets, settle, settle_unsent
from controller.intent import Latency
from controller.plan import make_plan
from tests.kit.control import catalogue, intent, request, snapshot

TIGHT = intent(latency=Latency(ttft_ms=500.0, tpot_ms=20.0, e2e_ms=5000.0))


def flight(**fields: object) -> Flight:
    """Return a request in flight that was sent at 10.1 and had its first token at 10.3."""
    drawn = request(TIGHT, **fields)
    plan = make_plan(drawn, snapshot())
    return Flight(drawn, plan, "large", 10.1, 500.0, 1.0, plan.prediction.cost_uusd, first_s=10.3)


def test_each_target_is_judged_from_the_arrival() -> None:
    """First token, pace and whole answer are three targets; one token has no pace."""
    assert missed_targets(TIGHT, 0.4, 2.0, 101) == ()
    assert missed_targets(TIGHT, 0.6, 2.0, 101) == ("ttft",)
    assert missed_targets(TIGHT, 0.4, 4.0, 101) == ("tpot",)
    assert missed_targets(TIGHT, 0.4, 5.1, 1) == ("e2e",)
    assert missed_targets(TIGHT, None, None, 0) == ("ttft", "e2e")


def test_a_settlement_compares_and_counts_the_wait() -> None:
    """Ratios are observed over predicted, and only of what completed."""
    done = settle(flight(), Outcome("complete", 50), 400, 11.0)
    assert (done.met, round(done.queue_wait_s, 3)) == (True, 0.1)
    assert done.ttft_ratio is not None
    assert done.cost_ratio is not None
    broken = settle(flight(), Outcome("failed"), 0, 11.0)
    assert (broken.met, broken.e2e_ratio, broken.cost_ratio) == (False, None, None)
    gone = settle_unsent("r", flight().plan, "shed", 0.0)
    assert (gone.met, gone.missed) == (False, ("shed",))


def test_usage_beats_the_estimate_and_cut_answers_teach_no_lengths() -> None:
    """The bill is by usage where it is known; an answer that met our cap says nothing about its length."""
    large = catalogue()["large"]
    assert cost_of(flight(), Outcome("complete", 100, input_tokens=1000), large) == 720
    assert cost_of(flight(), Outcome("complete", 100), large) == 420
    assert not cut_by_us(flight(), Outcome("complete", 100))
    assert cut_by_us(flight(), Outcome("complete", 100, truncated=True))
    assert cut_by_us(flight(max_tokens=100), Outcome("complete", 100))
