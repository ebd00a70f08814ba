"""The names, types, labels and buckets of the metrics page: vLLM's and the endpoint picker's. Pure.

From llm-d.md section B; buckets are those of vLLM and llm-d-inference-sim. vLLM's carry `model_name` and
`engine` (the number of the replica), the picker's what section B gives. The names that vLLM replaced are told
beside the new ones; the picker's deprecated twins (`inference_objective_*` and others) are not.
"""

from __future__ import annotations

from typing import Final

from controller.llmd.sim.exposition import Family

ENGINE_LABELS: Final = ("model_name", "engine")
REQUEST_LABELS: Final = ("model_name", "target_model_name", "fairness_id", "priority")
LORA_LABELS: Final = ("max_lora", "waiting_lora_adapters", "running_lora_adapters")

TTFT_BOUNDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0),
    *(80.0, 160.0, 640.0, 2560.0),
)
ITL_BOUNDS: Final = (
    *(
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.15,
        0.2,
        0.3,
        0.4,
        0.5,
        0.75,
        1.0,
        2.5,
        5.0,
        7.5,
        10.0,
        20.0,
        40.0,
        80.0,
    ),
)
LATENCY_BOUNDS: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0),
    *(960.0, 1920.0, 7680.0),
)
STEP_BOUNDS: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
QUEUE_BOUNDS: Final = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

_VLLM_GAUGES: Final = {
    "num_requests_running": "Number of requests in model execution batches.",
    "num_requests_waiting": "Number of requests waiting to be processed.",
    "kv_cache_usage_perc": "KV-cache usage. 1 means 100 percent usage.",
    "gpu_cache_usage_perc": "KV-cache usage, under its older name.",
}
_VLLM_COUNTERS: Final = {
    "prompt_tokens_total": "Number of prefill tokens processed.",
    "generation_tokens_total": "Number of generation tokens processed.",
    "num_preemptions_total": "Cumulative number of preemptions.",
    "prefix_cache_queries_total": "Prefix cache queries, in tokens.",
    "prefix_cache_hits_total": "Prefix cache hits, in tokens.",
}
_POOL_GAUGES: Final[dict[str, tuple[str, ...]]] = {
    "request_running": REQUEST_LABELS,
    "average_kv_cache_utilization": ("name",),
    "average_queue_size": ("name",),
    "average_running_requests": ("name",),
    "ready_endpoints": ("name",),
    "per_endpoint_queue_size": ("name", "model_server_endpoint"),
    "inflight_requests": ("inference_pool",),
    "inflight_tokens": ("inference_pool",),
    "flow_control_pool_saturation": ("inference_pool", "stage"),
    "flow_control_stale_endpoints": ("inference_pool",),
    "flow_control_queue_size": ("inference_pool", "fairness_id", "priority"),
    "flow_control_capacity_utilization_requests": ("inference_pool", "priority"),
}


def count_bounds(largest: int) -> tuple[int, ...]:
    """Return 1, 2, 5, 10, 20, 50, ... up to `largest`: vLLM's buckets of token counts, by context length."""
    bounds: list[int] = []
    scale = 1
    while scale <= largest:
        bounds += [step * scale for step in (1, 2, 5) if step * scale <= largest]
        scale *= 10
    return tuple(bounds)


def vllm_families(context_max: int) -> dict[str, Family]:
    """Return vLLM's families, empty."""
    counts = count_bounds(context_max)
    made = [Family(f"vllm:{name}", "gauge", text, ENGINE_LABELS) for name, text in _VLLM_GAUGES.items()]
    made += [Family(f"vllm:{name}", "counter", text, ENGINE_LABELS) for name, text in _VLLM_COUNTERS.items()]
    sizes = (*ENGINE_LABELS, "block_size", "num_gpu_blocks")
    made += [
        Family("vllm:cache_config_info", "gauge", "The cache's configuration.", sizes),
        Family("vllm:lora_requests_info", "gauge", "LoRA requests now.", (*ENGINE_LABELS, *LORA_LABELS)),
    ]
    for name, text, label in (
        ("request_success_total", "Requests by how they ended.", "finished_reason"),
        ("admission_rejections_total", "Requests refused.", "reason"),
    ):
        made.append(Family(f"vllm:{name}", "counter", text, (*ENGINE_LABELS, label)))
    for name, bounds in (
        ("time_to_first_token_seconds", TTFT_BOUNDS),
        ("inter_token_latency_seconds", ITL_BOUNDS),
        ("time_per_output_token_seconds", ITL_BOUNDS),
        ("request_time_per_output_token_seconds", ITL_BOUNDS),
        ("e2e_request_latency_seconds", LATENCY_BOUNDS),
        ("request_queue_time_seconds", LATENCY_BOUNDS),
        ("request_prefill_time_seconds", LATENCY_BOUNDS),
        ("request_decode_time_seconds", LATENCY_BOUNDS),
        ("request_inference_time_seconds", LATENCY_BOUNDS),
        ("request_prompt_tokens", counts),
        ("request_generation_tokens", counts),
        ("request_max_num_generation_tokens", counts),
        ("request_params_max_tokens", counts),
        ("iteration_tokens_total", STEP_BOUNDS),
    ):
        text = f"Histogram of {name.removesuffix('_seconds').replace('_', ' ')}."
        made.append(Family(f"vllm:{name}", "histogram", text, ENGINE_LABELS, bounds))
    return {family.name: family for family in made}


def picker_families(context_max: int) -> dict[str, Family]:
    """Return the endpoint picker's families, empty."""
    counts = count_bounds(context_max)
    outcome, models = ("inference_pool", "outcome"), REQUEST_LABELS[:2]
    made = [
        _picker("request_total", "counter", "Requests of the picker.", REQUEST_LABELS),
        _picker("request_error_total", "counter", "Refused or cut.", (*REQUEST_LABELS, "error_code")),
        _picker("request_slo_violation_total", "counter", "Objectives not kept.", (*models, "type")),
        _picker("flow_control_requests_total", "counter", "Requests by outcome.", outcome),
    ]
    for name, labels, bounds in (
        ("request_duration_seconds", REQUEST_LABELS, LATENCY_BOUNDS),
        ("request_ttft_seconds", REQUEST_LABELS, TTFT_BOUNDS),
        ("request_streaming_tpot_seconds", REQUEST_LABELS, ITL_BOUNDS),
        ("request_streaming_itl_seconds", REQUEST_LABELS, ITL_BOUNDS),
        ("request_ntpot_seconds", REQUEST_LABELS, ITL_BOUNDS),
        ("request_input_tokens", REQUEST_LABELS, counts),
        ("request_output_tokens", REQUEST_LABELS, counts),
        ("request_cached_tokens", REQUEST_LABELS, counts),
        ("request_predicted_ttft_seconds", models, TTFT_BOUNDS),
        ("request_predicted_tpot_seconds", models, ITL_BOUNDS),
        ("flow_control_request_queue_duration_seconds", outcome, QUEUE_BOUNDS),
    ):
        text = f"Histogram of {name.removesuffix('_seconds').replace('_', ' ')}."
        made.append(Family(f"llm_d_epp_{name}", "histogram", text, labels, bounds))
    made += [_picker(name, "gauge", "Of the pool, now.", labels) for name, labels in _POOL_GAUGES.items()]
    return {family.name: family for family in made}


def _picker(name: str, kind: str, text: str, labels: tuple[str, ...]) -> Family:
    return Family(f"llm_d_epp_{name}", "gauge" if kind == "gauge" else "counter", text, labels)
