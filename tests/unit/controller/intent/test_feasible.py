"""`controller.intent.feasible`."""

from __future__ import annotations

from controller.intent import Latency, infeasible_targets
from tests.kit.control import catalogue, intent


def test_a_target_that_no_rung_can_meet_is_named() -> None:
    """25 ms to the first token is beyond the large model, and not beyond the small one."""
    only = intent(models=("large",), latency=Latency(ttft_ms=25.0, e2e_ms=60_000.0))
    (warning,) = infeasible_targets([only], catalogue())
    assert warning.pointer == "/intents/0/latency/ttft_ms"
    assert "60 ms when idle" in warning.message
    assert infeasible_targets([intent(latency=Latency(ttft_ms=25.0))], catalogue()) == ()


def test_pace_and_whole_answer_are_checked_too() -> None:
    """A pace of 1 ms and an answer in 100 ms are beyond every model."""
    hasty = intent(latency=Latency(tpot_ms=1.0, e2e_ms=100.0))
    fields = [warning.pointer.rpartition("/")[2] for warning in infeasible_targets([hasty], catalogue())]
    assert fields == ["tpot_ms", "e2e_ms"]
