"""What is shown of the backends: attempts by what they came to, breakers, requests in flight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

_STATES: Final = ("closed", "half_open", "open")


@dataclass(frozen=True, slots=True)
class BackendReading:
    """What one backend says of itself at the moment of a scrape, by its configured name."""

    name: str
    state: str
    """Of its breaker."""
    openings: int
    in_flight: int
    results: Mapping[str, int]
    """Attempts by what they came to."""


@dataclass(frozen=True, slots=True)
class RetryReading:
    """What is known of further attempts at the moment of a scrape."""

    budget: float
    """Further attempts that could be made at once."""
    made: Mapping[str, int]
    """By the reason for them."""
    forgone: Mapping[str, int]
    """Failed attempts that were the last, by what stood in the way of another."""


def retry_families(reading: RetryReading) -> Iterator[Metric]:
    """Return the metrics of further attempts."""
    made = CounterMetricFamily(
        "lumyn_upstream_retries", "Further attempts by why the one before failed.", labels=("reason",)
    )
    for reason, count in reading.made.items():
        made.add_metric((reason,), count)
    forgone = CounterMetricFamily(
        "lumyn_upstream_retries_forgone",
        "Failed attempts without a further one, by what stood in its way.",
        labels=("why",),
    )
    for why, count in reading.forgone.items():
        forgone.add_metric((why,), count)
    yield from (made, forgone)
    yield GaugeMetricFamily(
        "lumyn_upstream_retry_budget", "Further attempts that the budget allows at once.", reading.budget
    )


def backend_families(readings: Iterable[BackendReading]) -> Iterator[Metric]:
    """Return the metrics of all backends."""
    attempts = CounterMetricFamily(
        "lumyn_upstream_attempts",
        "Requests sent, further attempts included, by what they came to.",
        labels=("backend", "result"),
    )
    states = GaugeMetricFamily(
        "lumyn_upstream_breaker_state", "1 for where the breaker stands.", labels=("backend", "state")
    )
    openings = CounterMetricFamily(
        "lumyn_upstream_breaker_openings", "How often the breaker opened.", labels=("backend",)
    )
    in_flight = GaugeMetricFamily(
        "lumyn_upstream_in_flight_requests", "Requests sent and not yet answered whole.", labels=("backend",)
    )
    for reading in readings:
        for result, count in reading.results.items():
            attempts.add_metric((reading.name, result), count)
        for state in _STATES:
            states.add_metric((reading.name, state), float(state == reading.state))
        openings.add_metric((reading.name,), reading.openings)
        in_flight.add_metric((reading.name,), reading.in_flight)
    yield from (attempts, states, openings, in_flight)
