"""Pools behind their pickers: one fate each, priority and fairness, faults, speed, determinism."""

import hashlib
import math
import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import Faults, ModelConfig, RouterConfig, SimConfig, preset
from controller.llmd.sim.engine_config import CompatLatency
from controller.llmd.sim.intent import LlmdIntent
from controller.llmd.sim.pool import REFUSED
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.types import Dispatched, Dropped, Finished, Part, SimRequest

ENGINE = replace(HARDWARE["8b-h100"], seqs_max=16, batched_tokens_max=2048)
FATES = (Finished, Dropped)


def one_pool(replicas=1, router=None, **engine):
    """Return a configuration with one model `m`."""
    model = ModelConfig(name="m", engine=replace(ENGINE, **engine), replicas=replicas)
    return SimConfig(models=(model,), router=router or RouterConfig())


def run(cluster, arrivals):
    """Submit (time, request) and run to the end; return all events."""
    events = []
    for at, request in arrivals:
        while cluster.next_event_time() <= at:
            events += cluster.advance(cluster.next_event_time())
        cluster.submit(request, at)
    while (at := cluster.next_event_time()) < math.inf:
        events += cluster.advance(at)
    return events


def chat(count, rate, models=("m",), objectives=(None,), flows=("f",), seed=1):
    """Return Poisson arrivals of chat-sized requests."""
    draw, at, arrivals = random.Random(seed), 0.0, []
    for index in range(count):
        at += draw.expovariate(rate)
        intent = LlmdIntent(objective=draw.choice(objectives), fairness_id=draw.choice(flows))
        tokens = (draw.randint(100, 1500), draw.randint(50, 400))
        arrivals.append((at, SimRequest(str(index), draw.choice(models), *tokens, intent)))
    return arrivals


def test_every_request_has_one_fate_and_events_are_in_order():
    """Under overload, with expiry, each ends once: finished or dropped with a reason."""
    cluster = Cluster(one_pool(router=RouterConfig(ttl_s=3.0)))
    events = run(cluster, chat(400, 40))
    fates = [event.request_id for event in events if isinstance(event, FATES)]
    assert sorted(fates, key=int) == [str(index) for index in range(400)]
    assert {event.reason for event in events if isinstance(event, Dropped)} == {"rejected-ttl-expired"}
    assert all(before.at_s <= after.at_s for before, after in pairwise(events))
    signals = cluster.signals("m")
    assert (signals.running, signals.waiting, signals.queued, signals.in_flight, signals.kv_usage) == (
        0,
        0,
        0,
        0,
        0,
    )


def test_priority_keeps_the_urgent_fast_while_the_rest_waits():
    """At twice the capacity critical requests wait for a place, sheddable ones for a queue."""
    events = run(Cluster(one_pool()), chat(300, 15, objectives=("critical", "sheddable", "sheddable")))
    waits = {4: [], -2: []}
    for event in events:
        if isinstance(event, Dispatched):
            waits[event.priority].append(event.queue_s)
    assert sum(waits[4]) / len(waits[4]) < 0.2 * sum(waits[-2]) / len(waits[-2])


def test_fairness_serves_a_small_flow_beside_a_greedy_one():
    """A flow with a tenth of the traffic waits far less than the flow that floods."""
    flows = ("greedy",) * 9 + ("small",)
    events = run(Cluster(one_pool()), chat(300, 15, flows=flows))
    waits = {"greedy": [], "small": []}
    for event in events:
        if isinstance(event, Dispatched):
            waits[event.fairness_id].append(event.queue_s)
    assert sum(waits["small"]) / len(waits["small"]) < 0.3 * sum(waits["greedy"]) / len(waits["greedy"])


def test_replicas_share_the_load_evenly():
    """Three equal replicas get a third each, within five points."""
    events = run(Cluster(one_pool(replicas=3)), chat(600, 18))
    replicas = [event.replica for event in events if isinstance(event, Dispatched)]
    assert all(abs(replicas.count(index) / len(replicas) - 1 / 3) < 0.05 for index in range(3))


def test_cancel_frees_the_queued_and_the_running():
    """Afterwards nothing is held, no event follows, and a second cancel says so."""
    cluster = Cluster(one_pool(seqs_max=1))
    for index in range(30):
        cluster.submit(SimRequest(str(index), "m", 100, 100), 0.06 * index)
    assert cluster.signals("m").queued > 5
    assert all(cluster.cancel(str(index), 2.0) for index in range(4, 30))
    assert not cluster.cancel("29", 2.0)
    events = []
    while (at := cluster.next_event_time()) < math.inf:
        events += cluster.advance(at)
    assert {event.request_id for event in events if isinstance(event, FATES)} <= {"0", "1", "2", "3"}
    assert cluster.signals("m").in_flight == 0


def test_eviction_cuts_sheddable_work_with_its_reason():
    """A saturated pool gives up sheddable requests in flight for a critical one that waits."""
    router = RouterConfig(eviction=True, saturation="concurrency", concurrency_threshold=2)
    cluster = Cluster(one_pool(router=router))
    background = LlmdIntent(objective="background")
    arrivals = [(0.0, SimRequest(name, "m", 100, 2000, background)) for name in "ab"]
    events = run(cluster, [*arrivals, (1.0, SimRequest("c", "m", 100, 10, LlmdIntent(objective="critical")))])
    cut = [event for event in events if isinstance(event, Dropped)]
    assert {(event.status, event.reason, event.evicted) for event in cut} == {(429, "evicted", True)}
    assert next(event.at_s for event in events if isinstance(event, Finished)) < 1.5


def test_evictions_of_a_model_without_latency_end_once():
    """With every latency zero tokens come at the very instant of an eviction; still one fate each."""
    router = RouterConfig(eviction=True, saturation="concurrency", concurrency_threshold=3)
    config = one_pool(router=router, latency=CompatLatency(itl_ms=1), seqs_max=2, waiting_max=0)
    intents = (LlmdIntent(objective="background"), LlmdIntent(objective="critical"))
    arrivals = [
        (0.0001 * (index // 2), SimRequest(str(index), "m", 10, 1 + index % 3, intents[index % 2]))
        for index in range(120)
    ]
    fates = [event.request_id for event in run(Cluster(config), arrivals) if isinstance(event, FATES)]
    assert sorted(fates, key=int) == [str(index) for index in range(120)]


def test_parts_are_one_request_to_the_picker_and_end_together():
    """Three choices: one dispatch, three ends, and the id is free again afterwards."""
    cluster = Cluster(one_pool())
    request = SimRequest("r", "m", 50, 10, extra_parts=(Part(50, 20), Part(70, 5)))
    events = run(cluster, [(0.0, request)])
    assert sum(isinstance(event, Dispatched) for event in events) == 1
    assert sorted(e.request_id for e in events if isinstance(e, Finished)) == ["r", "r/1", "r/2"]
    cluster.submit(request, 100.0)
    assert cluster.cancel("r", 100.1)


def test_faults_fail_hang_refuse_and_slow_as_told():
    """Rates hold within sampling error, kinds carry their statuses, everything ends with the fault."""
    cluster = Cluster(replace(one_pool(), faults=Faults(errors={"server_error": 0.2, "rate_limit": 0.1})))
    events = run(cluster, chat(1000, 5))
    statuses = [event.status for event in events if isinstance(event, Dropped)]
    assert statuses.count(503) == pytest.approx(200, abs=40)
    assert statuses.count(429) == pytest.approx(100, abs=30)
    cluster.set_faults(Faults(refuse=True), 1000.0)
    [refused] = run(cluster, [(1000.0, SimRequest("x", "m", 10, 10))])
    assert (refused.outcome, refused.status) == (REFUSED, 0)
    cluster.set_faults(Faults(hang_rate=1.0), 1001.0)
    events = run(cluster, [(1001.0, SimRequest("h", "m", 10, 10))])
    assert not [event for event in events if isinstance(event, FATES)]
    assert cluster.cancel("h", 1010.0)
    cluster.set_faults(Faults(replicas_down=1), 1011.0)
    [dropped] = run(cluster, [(1011.0, SimRequest("d", "m", 10, 10))])
    assert (dropped.status, dropped.reason) == (503, "rejected-no-endpoints")


def test_a_full_engine_queue_answers_as_its_maker_does():
    """VLLM's own bound gives 503 without a reason header."""
    cluster = Cluster(one_pool(router=RouterConfig(enabled=False), seqs_max=1, waiting_max=1))
    events = run(cluster, [(0.1 * index, SimRequest(str(index), "m", 100, 500)) for index in range(4)])
    dropped = [event for event in events if isinstance(event, Dropped)]
    assert [(event.request_id, event.status, event.reason) for event in dropped] == [
        ("2", 503, None),
        ("3", 503, None),
    ]


def test_without_a_picker_no_intent_is_read():
    """Sheddable requests are not refused by a plain load balancer."""
    cluster = Cluster(one_pool(router=RouterConfig(enabled=False), seqs_max=1))
    sheddable = LlmdIntent(objective="sheddable")
    events = run(
        cluster, [(0.1 * index, SimRequest(str(index), "m", 100, 50, sheddable)) for index in range(20)]
    )
    assert sum(isinstance(event, Finished) for event in events) == 20


def test_the_picker_can_write_the_engine_priority():
    """With propagatePriority the objective, negated, decides inside the engine."""
    config = one_pool(
        router=RouterConfig(flow_control=False, propagate_priority=True), seqs_max=1, scheduling="priority"
    )
    arrivals = [(0.0, SimRequest("first", "m", 10, 100))]
    arrivals += [
        (0.1, SimRequest(name, "m", 10, 10, LlmdIntent(objective=name))) for name in ("batch", "critical")
    ]
    ends = [event.request_id for event in run(Cluster(config), arrivals) if isinstance(event, Finished)]
    assert ends == ["first", "critical", "batch"]


def test_wrong_submissions_are_refused_loudly():
    """Unknown models, ids in use and requests beyond the cache are the caller's mistakes."""
    cluster = Cluster(one_pool())
    with pytest.raises(KeyError):
        cluster.submit(SimRequest("a", "nope", 1, 1), 0.0)
    with pytest.raises(ValueError, match="does not fit"):
        cluster.submit(SimRequest("a", "m", 400_000, 100_000), 0.0)
    cluster.submit(SimRequest("a", "m", 1, 1), 0.0)
    with pytest.raises(ValueError, match="in use"):
        cluster.submit(SimRequest("a", "m", 1, 1), 0.0)


def fingerprint():
    """Return a digest of a busy run on the demonstration cluster."""
    arrivals = chat(120, 60, ("llama-70b", "llama-8b", "llama-1b"), ("critical", "batch"))
    events = run(Cluster(preset("llmd-demo")), arrivals)
    return hashlib.sha256(repr(events).encode()).hexdigest()


def test_a_seed_gives_the_same_events_in_any_process():
    """Two processes with different hash seeds produce the very same events."""
    code = "import sys; sys.path[:0] = [{!r}, '.']; import test_cluster; print(test_cluster.fingerprint())"
    here = str(Path(__file__).parent)
    prints = {
        subprocess.run(
            [sys.executable, "-c", code.format(here)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("11", "22")
    }
    assert prints == {fingerprint() + "\n"}


def test_a_thousand_chat_requests_are_simulated_in_a_second():
    """At least 1,000 chat-sized requests a second of CPU on the demonstration cluster, overloaded or not."""
    bar = 1000 if sys.gettrace() is None else 100  # a tracer, such as coverage, costs a factor of four
    models = ("llama-70b", "llama-8b", "llama-1b")
    for rate in (20, 120):
        cluster, arrivals = Cluster(preset("llmd-demo")), chat(1000, rate, models)
        started = time.process_time()
        run(cluster, arrivals)
        assert len(arrivals) / (time.process_time() - started) > bar
