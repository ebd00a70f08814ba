"""The page has every name of llm-d.md section B, with its type."""

import pytest

from controller.llmd.sim.metric_names import count_bounds, picker_families, vllm_families

VLLM = {
    "gauge": "num_requests_running num_requests_waiting kv_cache_usage_perc gpu_cache_usage_perc "
    "lora_requests_info cache_config_info",
    "counter": "prompt_tokens_total generation_tokens_total num_preemptions_total request_success_total "
    "prefix_cache_queries_total prefix_cache_hits_total admission_rejections_total",
    "histogram": "time_to_first_token_seconds inter_token_latency_seconds time_per_output_token_seconds "
    "request_time_per_output_token_seconds e2e_request_latency_seconds request_queue_time_seconds "
    "request_prefill_time_seconds request_decode_time_seconds request_inference_time_seconds "
    "request_prompt_tokens request_generation_tokens request_params_max_tokens iteration_tokens_total",
}
PICKER = {
    "gauge": "request_running average_kv_cache_utilization average_queue_size average_running_requests "
    "ready_endpoints per_endpoint_queue_size flow_control_pool_saturation flow_control_stale_endpoints "
    "flow_control_queue_size flow_control_capacity_utilization_requests inflight_requests inflight_tokens",
    "counter": "request_total request_error_total flow_control_requests_total request_slo_violation_total",
    "histogram": "request_duration_seconds request_ttft_seconds request_streaming_tpot_seconds "
    "request_streaming_itl_seconds request_ntpot_seconds request_input_tokens request_output_tokens "
    "request_cached_tokens flow_control_request_queue_duration_seconds request_predicted_ttft_seconds "
    "request_predicted_tpot_seconds",
}


@pytest.mark.parametrize(
    ("prefix", "names", "made"), [("vllm:", VLLM, vllm_families), ("llm_d_epp_", PICKER, picker_families)]
)
def test_every_name_of_section_b_is_there_with_its_type(prefix, names, made):
    """And nothing of another prefix."""
    families = made(131_072)
    for kind, listed in names.items():
        for name in listed.split():
            assert families[prefix + name].kind == kind, name
    assert all(name.startswith(prefix) for name in families)


def test_count_buckets_end_at_the_context():
    """1, 2, 5, 10, ... as vLLM makes them."""
    assert count_bounds(1024) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
    assert count_bounds(1) == (1,)
