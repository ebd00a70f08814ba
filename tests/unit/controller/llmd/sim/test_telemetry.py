"""The metrics page counts what the cluster did, under the names, types and labels of llm-d.md section B."""

import math
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.llmd.sim import telemetry
from controller.llmd.sim.cluster import Cluster
from controller.llmd.sim.config import Faults, ModelConfig, RouterConfig, SimConfig
from controller.llmd.sim.intent import LlmdIntent
from controller.llmd.sim.presets import HARDWARE
from controller.llmd.sim.telemetry import Arrival, Telemetry
from controller.llmd.sim.types import NO_INTENT, Finished, Part, SimRequest

ENGINE = replace(HARDWARE["8b-h100"], seqs_max=4, batched_tokens_max=2048)
TYPES = {
    "vllm:num_requests_running": "gauge",
    "vllm:num_requests_waiting": "gauge",
    "vllm:kv_cache_usage_perc": "gauge",
    "vllm:prompt_tokens": "counter",
    "vllm:generation_tokens": "counter",
    "vllm:num_preemptions": "counter",
    "vllm:request_success": "counter",
    "vllm:prefix_cache_queries": "counter",
    "vllm:prefix_cache_hits": "counter",
    "vllm:admission_rejections": "counter",
    "vllm:time_to_first_token_seconds": "histogram",
    "vllm:inter_token_latency_seconds": "histogram",
    "vllm:request_time_per_output_token_seconds": "histogram",
    "vllm:e2e_request_latency_seconds": "histogram",
    "vllm:request_queue_time_seconds": "histogram",
    "vllm:request_prefill_time_seconds": "histogram",
    "vllm:request_decode_time_seconds": "histogram",
    "vllm:request_inference_time_seconds": "histogram",
    "vllm:request_prompt_tokens": "histogram",
    "vllm:request_generation_tokens": "histogram",
    "vllm:request_params_max_tokens": "histogram",
    "vllm:iteration_tokens_total": "histogram",
    "llm_d_epp_request": "counter",
    "llm_d_epp_request_error": "counter",
    "llm_d_epp_request_duration_seconds": "histogram",
    "llm_d_epp_request_ttft_seconds": "histogram",
    "llm_d_epp_request_ntpot_seconds": "histogram",
    "llm_d_epp_request_running": "gauge",
    "llm_d_epp_average_kv_cache_utilization": "gauge",
    "llm_d_epp_average_queue_size": "gauge",
    "llm_d_epp_ready_endpoints": "gauge",
    "llm_d_epp_flow_control_pool_saturation": "gauge",
    "llm_d_epp_flow_control_queue_size": "gauge",
    "llm_d_epp_flow_control_requests": "counter",
    "llm_d_epp_flow_control_request_queue_duration_seconds": "histogram",
}


class Bench:
    """A cluster with telemetry, driven in virtual time."""

    def __init__(self, *, scale=1.0, **router):
        model = ModelConfig(name="m", engine=ENGINE)
        self.cluster = Cluster(SimConfig(models=(model,), router=RouterConfig(**router)), per_token=True)
        self.telemetry = Telemetry(self.cluster, scale)

    def submit(self, name, now, reasons=("stop",), **changes):
        request = SimRequest(name, "m", 100, changes.pop("output", 20), **changes)
        intent = changes.get("intent", NO_INTENT)
        self.telemetry.submitted(name, Arrival("m", 100, 64, reasons, intent=intent), now)
        self.cluster.submit(request, now)

    def advance(self, until=math.inf):
        events = []
        while (at := self.cluster.next_event_time()) <= until and at < math.inf:
            events += self.cluster.advance(at)
        for event in events:
            self.telemetry.observe(event)
        return events

    def page(self):
        return self.telemetry.render().decode()

    def value(self, name, **labels):
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in self.page().splitlines() if line.startswith(f"{name}{{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(each in line for each in wanted))


def test_names_types_and_labels_are_those_of_the_real_ones():
    """Every name of the table is there with its type; vLLM's carry model_name and engine."""
    bench = Bench()
    bench.submit("a", 0.0)
    bench.advance()
    families = {family.name: family for family in text_string_to_metric_families(bench.page())}
    assert {name: families[name].type for name in TYPES if name in families} == TYPES
    for name, family in families.items():
        if name.startswith("vllm:"):
            assert all({"model_name", "engine"} <= sample.labels.keys() for sample in family.samples)


def test_counts_and_sums_are_exact():
    """Tokens, ends by reason, latencies from arrival: what the events say."""
    bench = Bench()
    for index in range(10):
        bench.submit(
            str(index), 0.2 * index, ("length",) if index % 2 else ("tool_calls",), output=10 + index
        )
    done = [event for event in bench.advance() if isinstance(event, Finished)]
    assert bench.value("vllm:generation_tokens_total") == sum(event.output_tokens for event in done)
    assert bench.value("vllm:prompt_tokens_total") == 1000
    assert bench.value("vllm:request_success_total", finished_reason="length") == 5
    assert bench.value("vllm:request_success_total", finished_reason="stop") == 5
    waited = sum(event.first_token_at_s - event.arrived_at_s for event in done)
    assert bench.value("vllm:time_to_first_token_seconds_sum") == pytest.approx(waited)
    total = sum(event.at_s - event.arrived_at_s for event in done)
    assert bench.value("vllm:e2e_request_latency_seconds_sum") == pytest.approx(total)
    assert bench.value("vllm:inter_token_latency_seconds_count") == sum(
        event.output_tokens - 1 for event in done
    )
    assert bench.value("llm_d_epp_request_total", priority="0", fairness_id="default-flow") == 10
    assert bench.value("llm_d_epp_request_running") == 0
    assert bench.value("llm_d_epp_flow_control_requests_total", outcome="Dispatched") == 10


def test_gauges_show_the_moment():
    """Running, waiting, saturation and queue while the pool is full."""
    bench = Bench()
    for index in range(20):
        bench.submit(str(index), 0.0, intent=LlmdIntent(objective="critical", fairness_id="acme"), output=500)
    bench.advance(0.5)
    assert bench.value("vllm:num_requests_running") == 4
    assert bench.value("vllm:num_requests_waiting") == 5
    assert bench.value("llm_d_epp_flow_control_pool_saturation", stage="effective") == 1.0
    assert bench.value("llm_d_epp_flow_control_queue_size", priority="4") == 11
    assert bench.value("llm_d_epp_flow_control_capacity_utilization_requests", priority="4") == 11 / 2000
    assert bench.value("llm_d_epp_ready_endpoints") == 1
    assert bench.value("llm_d_epp_request_running") == 9


def test_refusals_and_departures_are_counted_by_cause():
    """Expired, gone while queued, gone while running."""
    bench = Bench(ttl_s=1.0)
    for index in range(20):
        bench.submit(str(index), 0.0, output=2000)
    bench.advance(0.5)
    for name, queued in (("0", False), ("19", True)):
        assert bench.cluster.cancel(name, 0.5)
        bench.telemetry.cancelled(name, queued=queued)
    bench.advance(2.0)
    assert bench.value("vllm:request_success_total", finished_reason="abort") == 1
    outcomes = "llm_d_epp_flow_control_requests_total"
    assert bench.value(outcomes, outcome="EvictedContextCancelled") == 1
    expired = bench.value(outcomes, outcome="EvictedTTL")
    assert expired >= 8
    assert bench.value("llm_d_epp_request_error_total", error_code="rejected-ttl-expired") == expired


def test_durations_are_in_the_clients_seconds():
    """At a time scale of ten a simulated second is told as a tenth."""
    sums = []
    for scale in (1.0, 10.0):
        bench = Bench(scale=scale)
        bench.submit("a", 0.0)
        bench.advance()
        sums.append(bench.value("vllm:e2e_request_latency_seconds_sum"))
    assert sums[0] == pytest.approx(10 * sums[1])


def test_parts_count_as_sequences_of_one_request():
    """Three choices are three ends and one request of the picker."""
    bench = Bench()
    bench.submit("a", 0.0, ("stop", "length", "length"), extra_parts=(Part(100, 5), Part(100, 9)))
    bench.advance()
    assert bench.value("vllm:request_success_total") == 3
    assert bench.value("vllm:request_success_total", finished_reason="length") == 2
    assert bench.value("llm_d_epp_request_duration_seconds_count") == 1


def test_fairness_labels_are_bounded(monkeypatch):
    """Beyond the bound new ids share one series."""
    monkeypatch.setattr(telemetry, "FAIRNESS_LABELS_MAX", 20)
    bench = Bench(flow_control=False)
    for index in range(25):
        bench.submit(str(index), float(index), intent=LlmdIntent(fairness_id=f"t{index}"), output=1)
        bench.advance()
    assert bench.value("llm_d_epp_request_total", fairness_id="other") == 5
    assert bench.value("llm_d_epp_request_total", fairness_id="t3") == 1


def test_the_pickers_own_gaps_and_tokens_in_flight():
    """A gap for each token after the first, by flow; prompt tokens while they are in flight."""
    bench = Bench()
    for name in ("a", "b"):
        bench.submit(name, 0.0, intent=LlmdIntent(fairness_id=name), output=20)
    bench.advance(0.05)
    assert bench.value("llm_d_epp_inflight_tokens", inference_pool="m") == 200
    bench.advance()
    for name in ("a", "b"):
        assert bench.value("llm_d_epp_request_streaming_itl_seconds_count", fairness_id=name) == 19
    assert bench.value("llm_d_epp_inflight_tokens") == 0
    assert bench.value("vllm:time_per_output_token_seconds_count") == 38


def test_predictions_and_violations_are_told_with_a_predictor():
    """What it expects of each request, and which objectives were not kept; nothing without one."""
    for predicts in (True, False):
        bench = Bench(latency_slo_admitter=predicts)
        for index, (ttft, tpot) in enumerate(((1, None), (None, 1), (5000, 5000))):
            bench.submit(str(index), 0.0, intent=LlmdIntent(ttft_ms=ttft, tpot_ms=tpot))
        bench.advance()
        told = 3 if predicts else 0
        assert bench.value("llm_d_epp_request_predicted_ttft_seconds_count") == told
        assert bench.value("llm_d_epp_request_predicted_tpot_seconds_count") == told
        for kind in ("ttft", "tpot"):
            assert bench.value("llm_d_epp_request_slo_violation_total", type=kind) == (1 if predicts else 0)


def test_stale_metrics_are_told():
    """The saturation of exactly one, and how many replicas are not to be trusted."""
    bench = Bench()
    assert bench.value("llm_d_epp_flow_control_stale_endpoints") == 0
    bench.cluster.set_faults(Faults(stale_metrics=True), 0.0)
    bench.submit("a", 1.0)
    bench.advance(1.2)
    assert bench.value("llm_d_epp_flow_control_stale_endpoints", inference_pool="m") == 1
    assert bench.value("llm_d_epp_flow_control_pool_saturation", stage="effective") == 1.0


def test_adapters_are_told_while_they_run_and_wait():
    """Names by comma and the bound, dated; only for models that have adapters."""
    bench = Bench()
    assert "vllm:lora_requests_info{" not in bench.page()
    bench.cluster.load_lora("x", "", "m")
    for name, lora in (("a", "x"), ("b", "y")):
        bench.submit(name, 0.0, lora=lora, output=500)
    bench.advance(0.1)
    page = bench.telemetry.render(1700.5).decode()
    labels = 'model_name="m",engine="0",max_lora="1",waiting_lora_adapters="y",running_lora_adapters="x"'
    assert f"vllm:lora_requests_info{{{labels}}} 1700.5" in page


def test_a_rank_numbers_the_replica():
    """The engine label begins there."""
    bench = Bench()
    bench.telemetry = Telemetry(bench.cluster, 1.0, rank=3)
    bench.submit("a", 0.0)
    bench.advance()
    assert bench.value("vllm:generation_tokens_total", engine="3") == 20
    assert bench.value("vllm:num_preemptions_total", engine="3") == 0
