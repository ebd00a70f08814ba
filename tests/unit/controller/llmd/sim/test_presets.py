"""Every preset is usable as it stands."""

import pytest

from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.presets import HARDWARE, PRESETS
from controller.llmd.sim.types import Finished, SimRequest


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_holds_its_context(name):
    """A request of the longest context fits the cache, and vLLM's defaults for large cards are set."""
    engine = HARDWARE[name]
    assert engine.context_max <= engine.kv_blocks * engine.block_tokens
    assert (engine.seqs_max, engine.batched_tokens_max) == (1024, 8192)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_answer(name):
    """One request to each model is finished, the better model the slower."""
    times = []
    for model in PRESETS[name].models:
        cluster = Cluster(PRESETS[name])
        cluster.submit(SimRequest("a", model.name, 200, 50), 0.0)
        events = []
        while not any(isinstance(event, Finished) for event in events):
            events += cluster.advance(cluster.next_event_time())
        times.append(events[-1].at_s)
    assert times == sorted(times, reverse=True)
