"""The endpoint picker keeps the promises of llm-d.md A4: statuses, reasons, order, saturation, eviction."""

import math
from dataclasses import dataclass, field, replace

import pytest

from controller.llmd.sim.config import RouterConfig
from controller.llmd.sim.intent import LlmdIntent
from controller.llmd.sim.router import Ask, Dispatch, Evict, Reject, Router
from controller.llmd.sim.types import EngineLoad


@dataclass
class Gauges:
    """A replica that shows what the test sets."""

    waiting: int = 0
    kv: float = 0.0
    cached: set = field(default_factory=set)
    prediction: tuple = (0.1, 0.01)
    free: int = 0

    def load(self):
        return EngineLoad(0, self.waiting, 0, self.kv, 0, 0, 0, 0, self.free)

    def cached_blocks(self, prefix):
        return sum(block in self.cached for block in prefix)

    def predict(self, _tokens):
        return self.prediction


def ask(name, objective=None, *, flow="default-flow", ttl=None, ttft=None, prefix=(), size=0):
    """Return a request as the picker sees it."""
    return Ask(name, LlmdIntent(objective, flow, ttft, None, ttl), 100, size, prefix)


def router(*replicas, **changes):
    """Return a picker of these replicas."""
    return Router(replace(RouterConfig(), **changes), replicas)


def names(decisions, kind):
    """Return the ids of the decisions of a kind, in order."""
    return [decision.request_id for decision in decisions if isinstance(decision, kind)]


@pytest.mark.parametrize(
    ("gauges", "expected"),
    [
        ([(0, 0.0)], 0.0),
        ([(5, 0.0)], 1.0),
        ([(0, 0.8)], 1.0),
        ([(10, 0.4), (0, 0.4)], 1.25),
        ([(0, 0.2), (3, 0.8), (1, 0.0)], (0.25 + 1.0 + 0.2) / 3),
    ],
)
def test_saturation_is_the_mean_of_the_worse_of_queue_and_cache(gauges, expected):
    """mean(max(waiting/5, kv/0.8)) over the replicas."""
    assert router(*(Gauges(*gauge) for gauge in gauges)).saturation() == pytest.approx(expected)


def test_a_free_pool_dispatches_at_once_with_no_queue_time():
    """Zero is a legitimate queue duration."""
    assert router(Gauges()).submit(ask("a", "critical"), 1.0) == [Dispatch("a", 0, 4, 0.0)]


def test_a_saturated_pool_holds_and_releases_by_priority():
    """Unknown objectives count as priority 0; nothing leaves until a scrape shows room."""
    replica = Gauges(waiting=9)
    picker = router(replica)
    for name, objective in (
        ("shed", "sheddable"),
        ("zero", "no-such"),
        ("std", "standard"),
        ("crit", "critical"),
    ):
        assert picker.submit(ask(name, objective), 0.0) == []
    assert picker.queued == 4
    replica.waiting = 0
    at = picker.next_event_time()
    assert at == pytest.approx(0.05)
    decisions = picker.advance(at)
    assert names(decisions, Dispatch) == ["crit", "std", "zero", "shed"]
    assert [decision.priority for decision in decisions] == [4, 3, 0, -2]
    assert decisions[0].queue_s == pytest.approx(0.05)


def test_what_was_sent_since_the_scrape_counts_beyond_the_free_places():
    """Two free places and five that may wait: seven of ten leave, the urgent first, the rest later."""
    replica = Gauges(waiting=9)
    picker = router(replica)
    for index in range(9):
        picker.submit(ask(f"b{index}", "batch"), 0.0)
    picker.submit(ask("crit", "critical"), 0.0)
    replica.waiting, replica.free = 0, 2
    assert names(picker.advance(0.05), Dispatch) == ["crit", *(f"b{index}" for index in range(6))]
    replica.free = 9
    assert len(picker.advance(0.1)) == 3


def test_the_real_detector_is_blind_between_scrapes():
    """A burst inside one scrape interval is let through though the replica is full by then."""
    replica = Gauges()
    picker = router(replica, blind_between_scrapes=True)
    picker.submit(ask("a"), 0.0)
    replica.waiting = 50
    assert names(picker.submit(ask("b"), 0.04), Dispatch) == ["b"]
    assert names(picker.submit(ask("c"), 0.06), Dispatch) == []


def test_expiry_answers_429_with_its_reason_at_the_deadline():
    """The header shortens the operator's bound and cannot lengthen it."""
    picker = router(Gauges(waiting=9), ttl_s=2.0)
    picker.submit(ask("short", ttl=0.02), 0.0)
    picker.submit(ask("long", ttl=500.0), 0.0)
    assert picker.next_event_time() == pytest.approx(0.02)
    [reject] = picker.advance(0.02)
    assert (reject.request_id, reject.status, reject.reason) == ("short", 429, "rejected-ttl-expired")
    assert reject.queue_s == pytest.approx(0.02)
    rejects = []
    while picker.queued:
        at = picker.next_event_time()
        rejects += picker.advance(at)
    assert at == pytest.approx(2.0)
    assert names(rejects, Reject) == ["long"]


def test_the_older_picker_answers_503_on_expiry():
    """Before router PR #2047 the status was 503."""
    picker = router(Gauges(waiting=9), version="gaie", ttl_s=0.01)
    picker.submit(ask("a"), 0.0)
    assert picker.advance(0.01)[0].status == 503


@pytest.mark.parametrize(
    "bound", [{"band_requests_max": 2}, {"queue_requests_max": 2}, {"queue_bytes_max": 20}]
)
def test_a_full_queue_answers_429_saturated(bound):
    """At the band's, the queue's or the byte bound the next is refused at once."""
    picker = router(Gauges(waiting=9), **bound)
    answers = [picker.submit(ask(str(index), size=10), 0.0) for index in range(3)]
    assert answers[:2] == [[], []]
    [reject] = answers[2]
    assert (reject.status, reject.reason, reject.outcome) == (429, "rejected-saturated", "RejectedCapacity")


def test_an_empty_pool_answers_503_no_endpoints():
    """At once, or when the wait for an endpoint is over, whatever the client's TTL."""
    picker = router(Gauges())
    picker.set_ready(0, ready=False)
    [reject] = picker.submit(ask("a"), 0.0)
    assert (reject.status, reject.reason) == (503, "rejected-no-endpoints")
    patient = router(Gauges(), no_endpoint_ttl_s=3.0)
    patient.set_ready(0, ready=False)
    assert patient.submit(ask("b", ttl=0.5), 0.0) == []
    decisions, at = [], 0.0
    while not decisions:
        at = patient.next_event_time()
        decisions = patient.advance(at)
    assert at == pytest.approx(3.0)
    assert decisions[0].reason == "rejected-no-endpoints"


def test_without_flow_control_only_sheddable_requests_are_refused():
    """429 without a reason header for priority below 0 while saturated; others pass, without a queue time."""
    picker = router(Gauges(waiting=9), flow_control=False)
    [reject] = picker.submit(ask("s", "sheddable"), 0.0)
    assert (reject.status, reject.reason) == (429, None)
    [dispatch] = picker.submit(ask("n", "standard"), 0.0)
    assert (type(dispatch), dispatch.queue_s) == (Dispatch, None)
    picker.set_ready(0, ready=False)
    [none] = picker.submit(ask("x", "standard"), 0.0)
    assert (none.status, none.reason) == (429, None)


def test_the_latency_admitter_refuses_sheddable_requests_with_500():
    """The quirk of the real one: status 500, no reason; priority 0 and above always pass."""
    picker = router(Gauges(prediction=(2.0, 0.01)), latency_slo_admitter=True)
    [reject] = picker.submit(ask("a", "batch", ttft=500), 0.0)
    assert (reject.status, reject.reason) == (500, None)
    assert reject.message.startswith("request cannot be admitted")
    assert names(picker.submit(ask("b", "critical", ttft=500), 0.0), Dispatch) == ["b"]
    assert names(picker.submit(ask("c", "batch", ttft=5000), 0.0), Dispatch) == ["c"]


def test_eviction_takes_the_least_urgent_sheddable_work_for_a_waiting_request():
    """At most two a decision, not again within the grace, and nothing with priority 0 or above."""
    replica = Gauges()
    picker = router(replica, eviction=True)
    for name, objective in (("n", None), ("b1", "batch"), ("b2", "batch"), ("g", "background")):
        picker.submit(ask(name, objective), 0.0)
    replica.waiting = 9
    assert names(picker.submit(ask("s", "sheddable"), 0.1), Evict) == []
    assert names(picker.submit(ask("c", "critical"), 0.1), Evict) == ["g", "b2"]
    picker.done("g", 0.1)
    picker.done("b2", 0.1)
    assert picker.advance(0.2) == []
    assert names(picker.advance(0.7), Evict) == ["b1"]


def test_the_concurrency_detector_counts_what_is_in_flight():
    """At the threshold it holds; an end lets the next go at once."""
    picker = router(Gauges(), saturation="concurrency", concurrency_threshold=2)
    for name in "ab":
        assert names(picker.submit(ask(name), 0.0), Dispatch) == [name]
    assert picker.submit(ask("c"), 0.0) == []
    assert names(picker.done("a", 0.3), Dispatch) == ["c"]
    assert list(picker.in_flight) == [2]


def test_the_pick_prefers_short_queues_free_caches_and_known_prefixes():
    """Each scorer alone decides, and equals are spread by what is in flight."""
    assert router(Gauges(waiting=3), Gauges()).submit(ask("a"), 0.0)[0].replica == 1
    assert router(Gauges(kv=0.6), Gauges()).submit(ask("a"), 0.0)[0].replica == 1
    assert router(Gauges(), Gauges(cached={7, 8})).submit(ask("a", prefix=(7, 8, 9)), 0.0)[0].replica == 1
    spread = router(Gauges(), Gauges(), Gauges())
    assert [spread.submit(ask(str(n)), 0.0)[0].replica for n in range(6)] == [0, 1, 2, 0, 1, 2]


def test_cancel_and_drain_empty_the_queue():
    """A cancelled request is never decided; shutting down refuses the rest with 503."""
    picker = router(Gauges(waiting=9))
    for name in "abc":
        picker.submit(ask(name), 0.0)
    assert picker.cancel("b")
    assert not picker.cancel("b")
    decisions = picker.drain(1.0)
    assert names(decisions, Reject) == ["a", "c"]
    assert {(reject.status, reject.reason, reject.queue_s) for reject in decisions} == {
        (503, "rejected-shutting-down", 1.0)
    }
    assert picker.next_event_time() == math.inf
