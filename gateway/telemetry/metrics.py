"""What Prometheus reads. Names as in OpenTelemetry's GenAI conventions where they exist, else `lumyn_*`.

Label sets are closed: a model that no backend serves is counted as `other`, and no label ever holds a
user, a tenant or a text that a client chose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.kernel.hot import hot_dataclass
from gateway.telemetry.upstream import BackendReading, RetryReading, backend_families, retry_families

_OVERHEAD_BUCKETS_S: Final = (
    0.00005,
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
    1.0,
)
_DURATION_BUCKETS_S: Final = tuple(0.01 * 2**step for step in range(14))
"""The conventions' own: 10 ms to 81.92 s."""
_TOKEN_BUCKETS: Final = tuple(float(4**step) for step in range(14))
"""The conventions' own: 1 to 67 million."""


@dataclass(frozen=True, slots=True)
class StoreReading:
    """What the store says of itself at the moment of a scrape."""

    ready: bool
    queued: int
    committed: int
    last_commit_s: float


@hot_dataclass(frozen=True, slots=True)
class ExchangeReading:
    """One ended exchange, in the closed words of the labels. Durations in seconds, None if unknown."""

    operation: str
    model: str
    """Empty for an action, which is no request of an LLM."""
    verdict: str
    fate: str
    error: str
    duration_s: float
    overhead_s: float | None
    queued_s: float
    ttft_s: float | None
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class ControlReading:
    """What the controller says of itself at the moment of a scrape, by configured names."""

    mode: str
    queued: int
    models: Mapping[str, tuple[float, int]]
    """Congestion price and in-flight limit by model."""
    intents: Mapping[str, Mapping[str, float]]
    """`attainment` (absent while unknown), `spend_usd`, and counts by action, by intent."""


class Spread:
    """A histogram that is only counted here and only drawn at a scrape.

    A library's histogram costs 3 us an observation, for locks that one event loop does not need; with
    five of them a request that was a tenth of the gateway's own time.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value in the first bucket whose bound is not below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative buckets as Prometheus wants them, and the sum."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._sum


class Metrics:
    """All metrics of one server. Counted in one event loop, rendered by the Prometheus client."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._exchanges: dict[tuple[str, str, str, str], int] = defaultdict(int)
        self._reloads: dict[tuple[str, str], int] = defaultdict(int)
        self._decisions: dict[tuple[str, str], int] = defaultdict(int)
        self._overhead = Spread(_OVERHEAD_BUCKETS_S)
        self._queued = Spread(_DURATION_BUCKETS_S)
        self._duration = _spreads(_DURATION_BUCKETS_S)
        self._actions = _spreads(_DURATION_BUCKETS_S)
        self._ttft = _spreads(_DURATION_BUCKETS_S)
        self._tokens = _spreads(_TOKEN_BUCKETS)
        self._repeats: dict[str, int] = defaultdict(int)
        self._approvals: dict[str, int] = defaultdict(int)
        self._tool_calls: dict[tuple[str, str], int] = defaultdict(int)
        self._faults = 0
        self._in_flight = Gauge("lumyn_in_flight_requests", "Requests under way.", registry=self._registry)
        self._registry.register(_Collector(self._families))

    def watch_store(self, read: Callable[[], StoreReading]) -> None:
        """Read the store's state whenever metrics are scraped."""
        self._registry.register(_Collector(lambda: _store_families(read())))

    def watch_control(self, read: Callable[[], ControlReading]) -> None:
        """Read the controller's state whenever metrics are scraped."""
        self._registry.register(_Collector(lambda: _control_families(read())))

    def watch_backends(self, read: Callable[[], Iterable[BackendReading]]) -> None:
        """Read the backends' state whenever metrics are scraped."""
        self._registry.register(_Collector(lambda: backend_families(read())))

    def watch_retries(self, read: Callable[[], RetryReading]) -> None:
        """Read the state of further attempts whenever metrics are scraped."""
        self._registry.register(_Collector(lambda: retry_families(read())))

    def watch_in_flight(self, read: Callable[[], int]) -> None:
        """Read the number of requests under way whenever metrics are scraped."""
        self._in_flight.set_function(read)

    def exchange(self, reading: ExchangeReading) -> None:
        """Count one ended exchange."""
        self._exchanges[reading.operation, reading.verdict, reading.fate, reading.error] += 1
        if reading.overhead_s is not None:
            self._overhead.observe(reading.overhead_s)
            if reading.model:
                self._duration[reading.operation, reading.model].observe(reading.duration_s)
            else:
                self._actions[(reading.operation,)].observe(reading.duration_s)
        if reading.queued_s:
            self._queued.observe(reading.queued_s)
        if reading.ttft_s is not None:
            self._ttft[(reading.model,)].observe(reading.ttft_s)
        if reading.input_tokens is not None:
            self._tokens["input", reading.model].observe(reading.input_tokens)
        if reading.output_tokens is not None:
            self._tokens["output", reading.model].observe(reading.output_tokens)

    def repeated(self, answer: str) -> None:
        """Count a repetition of an action, by what it was answered: an error code, or REPLAYED."""
        self._repeats[answer] += 1

    def approval(self, step: str) -> None:
        """Count a step of an approval: asked, used, approved or denied."""
        self._approvals[step] += 1

    def tool_call(self, verdict: str, released: bool) -> None:
        """Count a tool call inside an answer: what was decided, and whether it went on."""
        self._tool_calls[verdict, "released" if released else "refused"] += 1

    def decision(self, surface: str, verdict: str) -> None:
        """Count a decision that is on record and is no exchange, by where it was asked for."""
        self._decisions[surface, verdict] += 1

    def reload(self, what: str, result: str) -> None:
        """Count what was read anew, by what came of it."""
        self._reloads[what, result] += 1

    def fault(self) -> None:
        """Count a fault of ours."""
        self._faults += 1

    def render(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self._registry)

    def _decided(self) -> Metric:
        """Return the decisions on record: those of exchanges that have a fate, and those counted apart."""
        counts = defaultdict(int, self._decisions)
        for (operation, verdict, fate, _), count in self._exchanges.items():
            if fate != "none":
                counts[_surface(operation), verdict] += count
        family = CounterMetricFamily(
            "lumyn_decisions",
            "Decisions on record by where they were asked for.",
            labels=("surface", "verdict"),
        )
        for labels, count in counts.items():
            family.add_metric(labels, count)
        return family

    def _families(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "lumyn_requests",
            "Requests by what was decided and how they ended.",
            labels=("operation", "verdict", "fate", "error"),
        )
        for labels, count in self._exchanges.items():
            ended.add_metric(labels, count)
        yield ended
        yield self._decided()
        reloads = CounterMetricFamily(
            "lumyn_reloads", "What was read anew, by what came of it.", labels=("what", "result")
        )
        for pair, count in self._reloads.items():
            reloads.add_metric(pair, count)
        yield reloads
        yield _family(
            "lumyn_overhead_seconds",
            "Time from a request's arrival to its forwarding: read, decide, commit.",
            (),
            {(): self._overhead},
        )
        yield _family(
            "lumyn_control_queue_seconds",
            "Time that requests were kept waiting for their turn.",
            (),
            {(): self._queued},
        )
        yield _family(
            "gen_ai_server_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("gen_ai_operation_name", "gen_ai_request_model"),
            self._duration,
        )
        yield _family(
            "lumyn_action_duration_seconds",
            "Time from an action's arrival to the end of its tool's answer.",
            ("operation",),
            self._actions,
        )
        yield _family(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from forwarding to the first content of a streamed answer.",
            ("gen_ai_request_model",),
            self._ttft,
        )
        yield _family(
            "gen_ai_client_token_usage",
            "Tokens that backends reported.",
            ("gen_ai_token_type", "gen_ai_request_model"),
            self._tokens,
        )
        yield _counts(
            "lumyn_action_repeats", "Repeated actions by what they were answered.", "answer", self._repeats
        )
        yield _counts("lumyn_approvals", "Approvals by what happened to them.", "step", self._approvals)
        judged = CounterMetricFamily(
            "lumyn_tool_calls",
            "Tool calls inside answers by what was decided and what became of them.",
            labels=("verdict", "outcome"),
        )
        for kind, calls in self._tool_calls.items():
            judged.add_metric(kind, calls)
        yield judged
        yield CounterMetricFamily("lumyn_internal_errors", "Faults of the gateway itself.", self._faults)


def _counts(name: str, words: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family


def _surface(operation: str) -> str:
    return "llm" if operation.startswith("llm.") else "action"


def _spreads(bounds: tuple[float, ...]) -> defaultdict[tuple[str, ...], Spread]:
    return defaultdict(lambda: Spread(bounds))


def _family(
    name: str,
    words: str,
    labels: tuple[str, ...],
    spreads: Mapping[tuple[str, ...], Spread],
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, words, labels=labels)
    for values, spread in spreads.items():
        buckets, total = spread.buckets()
        family.add_metric(values, buckets, total)
    return family


def _store_families(reading: StoreReading) -> Iterator[Metric]:
    yield GaugeMetricFamily("lumyn_store_ready", "1 while records can be committed.", float(reading.ready))
    yield GaugeMetricFamily("lumyn_store_queued", "Entries that wait for a commit.", float(reading.queued))
    yield CounterMetricFamily("lumyn_store_committed", "Entries committed.", float(reading.committed))
    yield GaugeMetricFamily(
        "lumyn_store_last_commit_seconds", "How long the last commit took.", reading.last_commit_s
    )


_MODES: Final = ("active", "guarded", "bypass", "shadow")


def _control_families(reading: ControlReading) -> Iterator[Metric]:
    mode = GaugeMetricFamily("lumyn_control_mode", "1 for the controller's mode.", labels=("mode",))
    for name in _MODES:
        mode.add_metric((name,), float(name == reading.mode))
    yield mode
    yield GaugeMetricFamily("lumyn_control_queued", "Requests that wait for their turn.", reading.queued)
    price = GaugeMetricFamily(
        "lumyn_control_price", "Congestion price of a server-second.", labels=("model",)
    )
    limit = GaugeMetricFamily("lumyn_control_limit", "In-flight limit.", labels=("model",))
    for model, (value, most) in reading.models.items():
        price.add_metric((model,), value)
        limit.add_metric((model,), most)
    yield price
    yield limit
    met = GaugeMetricFamily(
        "lumyn_intent_attainment", "Share of good requests in the window.", labels=("intent",)
    )
    spend = GaugeMetricFamily("lumyn_intent_spend_usd", "Spent in the budget's period.", labels=("intent",))
    actions = CounterMetricFamily(
        "lumyn_intent_actions", "Requests by what was done to them.", labels=("intent", "action")
    )
    for intent, facts in reading.intents.items():
        for name, fact in facts.items():
            if name == "attainment":
                met.add_metric((intent,), fact)
            elif name == "spend_usd":
                spend.add_metric((intent,), fact)
            else:
                actions.add_metric((intent, name), fact)
    yield from (met, spend, actions)


class _Collector(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()
