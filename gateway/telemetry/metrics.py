"""What Prometheus reads. Names as in OpenTelemetry's GenAI conventions where they exist, else `lumyn_*`.

Label sets are closed: a model that no backend serves is counted as `other`, and no label ever holds a
user, a tenant or a text that a client chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

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


_CHILDREN_MAX: Final = 4096
"""Operations x verdicts x fates x error codes come to hundreds."""


@dataclass(frozen=True, slots=True)
class StoreReading:
    """What the store says of itself at the moment of a scrape."""

    ready: bool
    queued: int
    committed: int
    last_commit_s: float


@dataclass(frozen=True, slots=True)
class ExchangeReading:
    """One ended exchange, in the closed words of the labels. Durations in seconds, None if unknown."""

    operation: str
    model: str
    verdict: str
    fate: str
    error: str
    duration_s: float
    overhead_s: float | None
    ttft_s: float | None
    input_tokens: int | None
    output_tokens: int | None


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._exchanges = Counter(
            "lumyn_requests",
            "Requests by what was decided and how they ended.",
            ("operation", "verdict", "fate", "error"),
            registry=registry,
        )
        self._overhead = Histogram(
            "lumyn_overhead_seconds",
            "Time from a request's arrival to its forwarding: read, decide, commit.",
            registry=registry,
            buckets=_OVERHEAD_BUCKETS_S,
        )
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("gen_ai_operation_name", "gen_ai_request_model"),
            registry=registry,
            buckets=_DURATION_BUCKETS_S,
        )
        self._ttft = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from forwarding to the first content of a streamed answer.",
            ("gen_ai_request_model",),
            registry=registry,
            buckets=_DURATION_BUCKETS_S,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens that backends reported.",
            ("gen_ai_token_type", "gen_ai_request_model"),
            registry=registry,
            buckets=_TOKEN_BUCKETS,
        )
        # Finding a labelled child costs more than counting on it, and the label sets are closed.
        self._ended = lru_cache(_CHILDREN_MAX)(self._exchanges.labels)
        self._lasted = lru_cache(_CHILDREN_MAX)(self._duration.labels)
        self._used = lru_cache(_CHILDREN_MAX)(self._tokens.labels)
        self._faults = Counter("lumyn_internal_errors", "Faults of the gateway itself.", registry=registry)
        self._in_flight = Gauge("lumyn_in_flight_requests", "Requests under way.", registry=registry)

    def watch_store(self, read: Callable[[], StoreReading]) -> None:
        """Read the store's state whenever metrics are scraped."""
        self._registry.register(_StoreCollector(read))

    def watch_in_flight(self, read: Callable[[], int]) -> None:
        """Read the number of requests under way whenever metrics are scraped."""
        self._in_flight.set_function(read)

    def exchange(self, reading: ExchangeReading) -> None:
        """Count one ended exchange."""
        self._ended(reading.operation, reading.verdict, reading.fate, reading.error).inc()
        if reading.overhead_s is not None:
            self._overhead.observe(reading.overhead_s)
            self._lasted(reading.operation, reading.model).observe(reading.duration_s)
        if reading.ttft_s is not None:
            self._ttft.labels(reading.model).observe(reading.ttft_s)
        if reading.input_tokens is not None:
            self._used("input", reading.model).observe(reading.input_tokens)
        if reading.output_tokens is not None:
            self._used("output", reading.model).observe(reading.output_tokens)

    def fault(self) -> None:
        """Count a fault of ours."""
        self._faults.inc()

    def render(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self._registry)


class _StoreCollector(Collector):
    def __init__(self, read: Callable[[], StoreReading]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def _families(self) -> Iterator[Metric]:
        reading = self._read()
        yield GaugeMetricFamily(
            "lumyn_store_ready", "1 while records can be committed.", float(reading.ready)
        )
        yield GaugeMetricFamily(
            "lumyn_store_queued", "Entries that wait for a commit.", float(reading.queued)
        )
        yield CounterMetricFamily("lumyn_store_committed", "Entries committed.", float(reading.committed))
        yield GaugeMetricFamily(
            "lumyn_store_last_commit_seconds", "How long the last commit took.", reading.last_commit_s
        )
