"""A replica's configuration refuses what contradicts itself."""

from dataclasses import replace

import pytest

from controller.llmd.sim.engine_config import CompatLatency, KvTransfer, SimConfigError
from controller.llmd.sim.presets import HARDWARE

ENGINE = HARDWARE["8b-h100"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: replace(ENGINE, max_loras=0),
        lambda: replace(ENGINE, max_loras=3, max_cpu_loras=2),
        lambda: replace(ENGINE, lora_load_ms=-1),
        lambda: replace(ENGINE, hit_rate_min=1.1),
        lambda: replace(ENGINE, context_max=10_000_000),
        lambda: replace(ENGINE, step=replace(ENGINE.step, floor_ms=0)),
        lambda: KvTransfer(latency_ms=10, latency_std_ms=4),
        lambda: KvTransfer(token_ms=-1),
        lambda: CompatLatency(factor_under_load=0.9),
        lambda: CompatLatency(ttft_ms=-1),
        lambda: CompatLatency(ttft_ms=10, ttft_std_ms=3.1),
        lambda: CompatLatency(prefill_std_ms=-1),
    ],
    ids=range(12),
)
def test_contradictions_are_refused(wrong):
    """Each with a message."""
    with pytest.raises(SimConfigError, match=r"must|larger"):
        wrong()


def test_deviations_up_to_30_percent_are_taken():
    """llm-d-inference-sim's bound, inclusive."""
    assert CompatLatency(ttft_ms=10, ttft_std_ms=3, itl_ms=5, itl_std_ms=1.5).ttft_std_ms == 3
    assert replace(ENGINE, max_loras=3, max_cpu_loras=3).max_cpu_loras == 3
