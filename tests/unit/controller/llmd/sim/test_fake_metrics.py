"""Fake metrics are told as given, and wrong ones are refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.exposition import exposition
from controller.llmd.sim.fake_metrics import FUNCTIONS, FakeMetrics, at


def page(fake, elapsed_s=0.0):
    """Return the lines that are told."""
    families = fake.families(["m"], "0", (elapsed_s, 1700.0), 1024)
    return exposition(families).decode().splitlines()


def test_functions_of_time_are_those_of_the_go_program():
    """A sine, a line that stays, a line that begins again, two levels."""
    assert [at("oscillate:0:10:4s", t) for t in (0, 1, 2, 3)] == pytest.approx([5, 10, 5, 0])
    assert [at("ramp:10:0:5s", t) for t in (0, 2.5, 5, 9)] == pytest.approx([10, 5, 0, 0])
    assert [at("rampreset:0:10:5s", t) for t in (0, 2.5, 5, 7.5)] == pytest.approx([0, 5, 0, 5])
    assert [at("squarewave:1:3:2s", t) for t in (0, 0.9, 1, 1.9, 2)] == [1, 1, 3, 3, 1]


@given(st.sampled_from(FUNCTIONS), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_functions_stay_between_start_and_end(name, start, end, elapsed_s):
    """At any time."""
    value = at(f"{name}:{start}:{end}:7s", elapsed_s)
    assert min(start, end) - 1e-6 * max(start, end) <= value <= max(start, end) * (1 + 1e-6) + 1e-9


def test_what_is_given_is_told_and_nothing_else():
    """Gauges, buckets at their upper bounds, counters from samples or from totals, adapters."""
    fake = FakeMetrics.read(
        {
            "running-requests": "ramp:0:10:10s",
            "kv-cache-usage": 0.4,
            "ttft-buckets-values": [0, 3, 1],
            "request-prompt-tokens": [1, 0, 2],
            "request-success-total": {"stop": 20},
            "total-generation-tokens": 500,
            "prefix-cache-hits": 10,
            "prefix-cache-queries": 30,
            "loras": [{"running": "a,b", "waiting": "c", "timestamp": 12}],
        }
    )
    lines = page(fake, 5.9)
    names = '{model_name="m",engine="0"'
    adapters = 'max_lora="1",waiting_lora_adapters="c",running_lora_adapters="a,b"'
    for expected in (
        f"vllm:num_requests_running{names}}} 5",
        f"vllm:kv_cache_usage_perc{names}}} 0.4",
        f'vllm:time_to_first_token_seconds_bucket{names},le="0.005"}} 3',
        f'vllm:time_to_first_token_seconds_bucket{names},le="0.01"}} 4',
        f"vllm:time_to_first_token_seconds_count{names}}} 4",
        f"vllm:request_prompt_tokens_sum{names}}} 11",
        f"vllm:prompt_tokens_total{names}}} 11",
        f"vllm:generation_tokens_total{names}}} 500",
        f'vllm:request_success_total{names},finished_reason="stop"}} 20',
        f'vllm:request_success_total{names},finished_reason="length"}} 0',
        f"vllm:prefix_cache_hits_total{names}}} 10",
        f"vllm:lora_requests_info{names},{adapters}}} 12",
    ):
        assert expected in lines
    told = {line.split("{")[0] for line in lines if not line.startswith("#")}
    assert "vllm:num_requests_waiting" not in told
    assert "vllm:e2e_request_latency_seconds_count" not in told


def test_a_change_keeps_what_it_does_not_name():
    """Null and missing leave a value; an empty list clears one."""
    fake = FakeMetrics(running_requests=1, waiting_requests=2, ttft_buckets_values=(1,))
    changed = fake.changed({"running-requests": 7, "waiting-requests": None, "ttft-buckets-values": []})
    assert changed == FakeMetrics(running_requests=7, waiting_requests=2, ttft_buckets_values=())


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"running-requests": -1},
        {"running-requests": math.inf},
        {"running-requests": "sine:0:1:5s"},
        {"running-requests": "ramp:0:1"},
        {"running-requests": "ramp:0:1:0s"},
        {"running-requests": "ramp:a:1:5s"},
        {"kv-cache-usage": 1.1},
        {"kv-cache-usage": "ramp:0:2:5s"},
        {"ttft-buckets-values": [1] * 24},
        {"tpot-buckets-values": [-1]},
        {"request-prompt-tokens": [-1]},
        {"request-success-total": {"nope": 1}},
        {"request-success-total": {"stop": -1}},
        {"total-prompt-tokens": -1},
        {"prefix-cache-hits": 5},
        {"prefix-cache-hits": 5, "prefix-cache-queries": 4},
        {"unknown": 1},
        {"loras": [{"name": "x"}]},
    ],
)
def test_wrong_metrics_are_refused(data):
    """One SimConfigError each."""
    with pytest.raises(SimConfigError):
        FakeMetrics.read(data)
