"""Metrics: what one exchange moves, and what is read at the moment of a scrape."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from gateway.telemetry.metrics import ControlReading, ExchangeReading, Metrics, StoreReading

WHOLE = ExchangeReading(
    operation="llm.chat_completion",
    model="m",
    verdict="TRUST",
    fate="complete",
    error="",
    duration_s=0.5,
    overhead_s=0.001,
    queued_s=0.5,
    ttft_s=0.2,
    input_tokens=12,
    output_tokens=9,
)
UNFORWARDED = ExchangeReading("none", "other", "none", "none", "AUTH", 0.5, None, 0.0, None, None, None)


def value(metrics: Metrics, start: str) -> float:
    """Return the value of the one sample whose line begins so."""
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith(start)]
    assert len(lines) <= 1, lines
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_a_whole_exchange_moves_everything() -> None:
    """Count, durations, time to the first token and tokens, under their labels."""
    metrics = Metrics()
    metrics.exchange(WHOLE)
    metrics.exchange(WHOLE)
    labels = 'error="",fate="complete",operation="llm.chat_completion",verdict="TRUST"'
    assert value(metrics, f"lumyn_requests_total{{{labels}}}") == 2
    assert value(metrics, "lumyn_overhead_seconds_sum") == pytest.approx(0.002)
    assert value(metrics, "lumyn_control_queue_seconds_sum") == 1.0
    named = 'gen_ai_operation_name="llm.chat_completion",gen_ai_request_model="m"'
    assert value(metrics, f"gen_ai_server_request_duration_seconds_sum{{{named}}}") == 1.0
    assert value(metrics, 'gen_ai_server_time_to_first_token_seconds_count{gen_ai_request_model="m"}') == 2
    for kind, tokens in (("input", 24), ("output", 18)):
        labels = f'gen_ai_request_model="m",gen_ai_token_type="{kind}"'
        assert value(metrics, f"gen_ai_client_token_usage_sum{{{labels}}}") == tokens


def test_what_was_not_forwarded_is_counted_and_not_timed() -> None:
    """A refused request says nothing of how fast backends are."""
    metrics = Metrics()
    metrics.exchange(UNFORWARDED)
    assert value(metrics, 'lumyn_requests_total{error="AUTH",fate="none"') == 1
    assert value(metrics, "lumyn_overhead_seconds_count") == 0
    assert value(metrics, "lumyn_control_queue_seconds_count") == 0
    assert "gen_ai_server_request_duration_seconds_count" not in metrics.render().decode()


def test_faults_are_counted() -> None:
    """Each fault of ours is one."""
    metrics = Metrics()
    metrics.fault()
    assert value(metrics, "lumyn_internal_errors_total") == 1


def test_the_store_and_the_flight_are_read_when_asked() -> None:
    """A scrape sees the state of its own moment."""
    metrics = Metrics()
    state = [StoreReading(ready=True, queued=3, committed=7, last_commit_s=0.25)]
    flying = [5]
    metrics.watch_store(lambda: state[0])
    metrics.watch_in_flight(lambda: flying[0])
    assert value(metrics, "lumyn_store_ready") == 1
    assert value(metrics, "lumyn_store_queued") == 3
    assert value(metrics, "lumyn_store_committed_total") == 7
    assert value(metrics, "lumyn_store_last_commit_seconds") == 0.25
    assert value(metrics, "lumyn_in_flight_requests") == 5
    state[0] = StoreReading(ready=False, queued=0, committed=7, last_commit_s=0.25)
    flying[0] = 0
    assert value(metrics, "lumyn_store_ready") == 0
    assert value(metrics, "lumyn_in_flight_requests") == 0


def test_two_gateways_in_one_process_do_not_share_counts() -> None:
    """Each has a registry of its own."""
    one, other = Metrics(), Metrics()
    one.fault()
    assert value(other, "lumyn_internal_errors_total") == 0


def test_no_label_is_a_tenant_or_a_user() -> None:
    """The label names are the closed set of the documentation."""
    metrics = Metrics()
    metrics.exchange(WHOLE)
    names = set(re.findall(r'(\w+)="', metrics.render().decode()))
    assert names == {
        *("operation", "surface", "verdict", "fate", "error", "le"),
        *("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_token_type"),
    }


def test_the_controller_is_read_at_a_scrape() -> None:
    """Mode, prices and limits by model, books by intent; an unknown attainment has no sample."""
    metrics = Metrics()
    books = {"a": {"attainment": 0.5, "spend_usd": 2.0, "shed": 3}, "b": {"spend_usd": 0.0}}
    metrics.watch_control(lambda: ControlReading("guarded", 4, {"m": (1.5, 8)}, books))
    assert value(metrics, 'lumyn_control_mode{mode="guarded"}') == 1
    assert value(metrics, 'lumyn_control_mode{mode="active"}') == 0
    assert value(metrics, "lumyn_control_queued ") == 4
    assert value(metrics, 'lumyn_control_price{model="m"}') == 1.5
    assert value(metrics, 'lumyn_control_limit{model="m"}') == 8
    assert value(metrics, 'lumyn_intent_actions_total{action="shed",intent="a"}') == 3
    assert metrics.render().count(b"lumyn_intent_attainment{") == 1


def test_decisions_of_every_surface_are_counted() -> None:
    """Exchanges that that have a fate, and decisions without an exchange; the rest is not on record."""
    metrics = Metrics()
    for reading in (WHOLE, WHOLE, UNFORWARDED):
        metrics.exchange(reading)
    metrics.exchange(replace(WHOLE, operation="support.refund", verdict="ESCALATE", fate="refused"))
    metrics.exchange(replace(WHOLE, fate="none", error="STORAGE_BUSY"))
    metrics.decision("decide", "ABSTAIN")
    text = metrics.render().decode()
    assert {line for line in text.splitlines() if line.startswith("lumyn_decisions_total")} == {
        'lumyn_decisions_total{surface="llm",verdict="TRUST"} 2.0',
        'lumyn_decisions_total{surface="action",verdict="ESCALATE"} 1.0',
        'lumyn_decisions_total{surface="decide",verdict="ABSTAIN"} 1.0',
    }
    assert metrics.render().decode() == text, "a scrape counts nothing twice"
