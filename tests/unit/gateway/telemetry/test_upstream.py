"""What a scrape shows of the backends."""

from __future__ import annotations

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.upstream import BackendReading, RetryReading


def test_each_backend_shows_how_it_stands() -> None:
    """Attempts by result, one state of three, openings and what is in flight, by the backend's name."""
    metrics = Metrics()
    results = {"answered": 7, "broken": 2}
    readings = [
        BackendReading("a", "half_open", 3, 4, results),
        BackendReading("b", "closed", 0, 0, {"answered": 1}),
    ]
    metrics.watch_backends(lambda: readings)
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("lumyn_upstream")]
    assert sorted(lines) == sorted(
        [
            'lumyn_upstream_attempts_total{backend="a",result="answered"} 7.0',
            'lumyn_upstream_attempts_total{backend="a",result="broken"} 2.0',
            'lumyn_upstream_attempts_total{backend="b",result="answered"} 1.0',
            'lumyn_upstream_breaker_openings_total{backend="a"} 3.0',
            'lumyn_upstream_breaker_openings_total{backend="b"} 0.0',
            'lumyn_upstream_breaker_state{backend="a",state="closed"} 0.0',
            'lumyn_upstream_breaker_state{backend="a",state="half_open"} 1.0',
            'lumyn_upstream_breaker_state{backend="a",state="open"} 0.0',
            'lumyn_upstream_breaker_state{backend="b",state="closed"} 1.0',
            'lumyn_upstream_breaker_state{backend="b",state="half_open"} 0.0',
            'lumyn_upstream_breaker_state{backend="b",state="open"} 0.0',
            'lumyn_upstream_in_flight_requests{backend="a"} 4.0',
            'lumyn_upstream_in_flight_requests{backend="b"} 0.0',
        ]
    )
    results["answered"] = 8
    assert b'result="answered"} 8.0' in metrics.render()


def test_further_attempts_are_shown_with_their_budget() -> None:
    """Made by reason, forgone by what stood in the way, and what could still be made."""
    metrics = Metrics()
    metrics.watch_retries(lambda: RetryReading(7.5, {"status_503": 2}, {"budget": 1, "nowhere": 4}))
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("lumyn_upstream")]
    assert sorted(lines) == [
        'lumyn_upstream_retries_forgone_total{why="budget"} 1.0',
        'lumyn_upstream_retries_forgone_total{why="nowhere"} 4.0',
        'lumyn_upstream_retries_total{reason="status_503"} 2.0',
        "lumyn_upstream_retry_budget 7.5",
    ]
