"""Pool signals are sums and means over the replicas."""

import pytest

from controller.llmd.sim.compat import CompatEngine
from controller.llmd.sim.engine import Engine
from controller.llmd.sim.engine_config import CompatLatency, EngineConfig, StepModel
from controller.llmd.sim.types import EngineLoad, PoolSignals, Replica


def test_signals_add_up():
    """Running and waiting are sums, the cache a mean; an empty pool shows zeros."""
    loads = (EngineLoad(3, 1, 4, 0.5, 0, 0, 0, 9), EngineLoad(1, 0, 1, 0.1, 0, 0, 0, 9))
    signals = PoolSignals(loads, 0.4, 7, 5)
    assert (signals.running, signals.waiting, signals.queued, signals.in_flight) == (4, 1, 7, 5)
    assert signals.kv_usage == pytest.approx(0.3)
    assert PoolSignals((), 0.0, 0, 0).kv_usage == 0.0


@pytest.mark.parametrize("latency", [None, CompatLatency(ttft_ms=10, itl_ms=1)])
def test_both_engines_are_replicas(latency):
    """Every method of the protocol is there and idle at the start."""
    config = EngineConfig(step=StepModel(floor_ms=1, token_ms=0.01), latency=latency)
    replica: Replica = CompatEngine(config, seed=1) if latency else Engine(config)
    assert replica.next_event_time() == float("inf")
    assert replica.advance(5.0) == []
    assert not replica.cancel("a", 6.0)
    assert replica.cached_blocks((1, 2)) == 0
    assert replica.load().free_places == config.seqs_max
    assert all(seconds > 0 for seconds in replica.predict(10))
