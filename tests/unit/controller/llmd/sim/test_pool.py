"""One model: adapters, sleep and stale metrics; the rest is proven through `test_cluster`."""

import math
from dataclasses import replace

import pytest

from controller.llmd.sim.cluster import LORAS_MAX, Cluster
from controller.llmd.sim.config import Faults, Lora, ModelConfig, RouterConfig, SimConfig
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import Dispatched, Dropped, Finished, SimRequest

ENGINE = replace(HARDWARE["8b-h100"], seqs_max=4, batched_tokens_max=2048)
CONFIG = SimConfig(models=(ModelConfig(name="m", engine=ENGINE, loras=(Lora(name="a"),)),))
PROMPT = {"prefix": tuple(range(6))}


def run(cluster, until=math.inf):
    """Return the events up to a time."""
    events = []
    while (at := cluster.next_event_time()) <= until and at < math.inf:
        events += cluster.advance(at)
    return events


def test_adapters_are_served_names():
    """Loaded and unloaded at run time; a name is used once, and there is a bound."""
    cluster = Cluster(CONFIG)
    assert cluster.pool("a") is cluster.pool("m")
    cluster.load_lora("b", "/b", "m")
    assert cluster.serves("b")
    for name in ("a", "b", "m"):
        with pytest.raises(ValueError, match="served already"):
            cluster.load_lora(name, "", "m")
    with pytest.raises(KeyError):
        cluster.load_lora("c", "", "nope")
    cluster.unload_lora("a")
    assert not cluster.serves("a")
    with pytest.raises(KeyError):
        cluster.unload_lora("a")
    for index in range(LORAS_MAX - 1):
        cluster.load_lora(str(index), "", "m")
    with pytest.raises(ValueError, match="at most"):
        cluster.load_lora("one more", "", "m")


def test_sleep_discards_the_cache_until_it_wakes():
    """Nothing is found while it sleeps, nothing is kept; afterwards prompts are cached again."""
    cluster = Cluster(CONFIG)
    cached = []
    for index, asleep in enumerate((None, None, True, None, False, None)):
        if asleep is not None:
            cluster.sleep(float(index), asleep=asleep)
        cluster.submit(SimRequest(str(index), "m", 100, 2, **PROMPT), float(index))
        cached += [event.cached_tokens for event in run(cluster) if isinstance(event, Finished)]
    assert cached == [0, 96, 0, 0, 0, 96]


def test_stale_metrics_count_as_saturated_after_200_ms():
    """What comes then waits, also beside an idle replica, until the scrapes succeed again."""
    cluster = Cluster(CONFIG)
    cluster.submit(SimRequest("before", "m", 10, 2), 0.0)
    run(cluster)
    cluster.set_faults(Faults(stale_metrics=True), 1.0)
    cluster.submit(SimRequest("early", "m", 10, 2), 1.1)
    assert any(isinstance(event, Dispatched) for event in run(cluster, 1.15))
    cluster.submit(SimRequest("late", "m", 10, 2), 2.0)
    run(cluster, 3.0)
    assert cluster.signals("m").queued == 1
    assert cluster.signals("m").saturation == 1.0
    assert cluster.pool("m").router.stale_endpoints == 1
    cluster.set_faults(Faults(), 3.0)
    assert any(isinstance(event, Finished) for event in run(cluster, 4.0))
    assert cluster.pool("m").router.stale_endpoints == 0


def test_tokens_in_flight_are_those_of_prompts():
    """Of what was dispatched and has not ended."""
    cluster = Cluster(replace(CONFIG, router=RouterConfig(flow_control=False)))
    for index in range(3):
        cluster.submit(SimRequest(str(index), "m", 100 + index, 50), 0.0)
    assert cluster.pool("m").in_flight_tokens() == 303
    run(cluster)
    assert cluster.pool("m").in_flight_tokens() == 0


def test_a_predictor_tells_what_it_expects():
    """With the latency admitter; for one request alone that is what happens."""
    router = RouterConfig(latency_slo_admitter=True)
    cluster = Cluster(replace(CONFIG, router=router))
    cluster.submit(SimRequest("r", "m", 1000, 20), 0.0)
    events = run(cluster)
    [sent] = [event for event in events if isinstance(event, Dispatched)]
    [done] = [event for event in events if isinstance(event, Finished)]
    assert sent.predicted[0] == pytest.approx(done.first_token_at_s, rel=0.02)
    plain = Cluster(CONFIG)
    plain.submit(SimRequest("r", "m", 10, 2), 0.0)
    assert [e.predicted for e in run(plain) if isinstance(e, Dispatched)] == [None]
    assert not [event for event in events if isinstance(event, Dropped)]
