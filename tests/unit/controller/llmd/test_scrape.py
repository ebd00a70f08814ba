"""`controller.llmd.scrape`: Prometheus text to signals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.llmd.scrape import read_metrics

TEXT = """# HELP vllm:num_requests_running x
vllm:num_requests_running{model_name="m",engine="0"} 3.0
vllm:num_requests_running{model_name="m",engine="1"} 4.0
vllm:num_requests_running{model_name="other"} 99
vllm:num_requests_waiting{model_name="m"} 2 1700000000
vllm:kv_cache_usage_perc{model_name="m",engine="0"} 0.5
vllm:kv_cache_usage_perc{model_name="m",engine="1"} 0.7
llm_d_epp_flow_control_pool_saturation{inference_pool="p",stage="effective"} 1.2
llm_d_epp_ready_endpoints{name="p"} 2
"""


def test_known_names_are_read() -> None:
    """Sums over replicas, the mean of KV usage, other models left out."""
    got = read_metrics(TEXT, "m", 5.0)
    assert (got.running, got.waiting, got.saturation, got.ready_endpoints) == (7.0, 2.0, 1.2, 2)
    assert got.kv_usage == pytest.approx(0.6)
    assert got.fresh(9.0)
    assert not got.fresh(11.0)


@pytest.mark.parametrize("value", ["NaN", "-5", "1e99", "+Inf", "many"])
def test_absurd_values_are_unknown_not_zero(value: str) -> None:
    """What cannot be a count is no signal."""
    assert read_metrics(f"vllm:num_requests_running {value}\n", "m", 0.0).running is None


def test_a_stale_picker_has_no_saturation() -> None:
    """Exactly 1.0 can mean stale metrics: while the picker says so, its saturation is unknown."""
    text = TEXT + "llm_d_epp_flow_control_stale_endpoints 1\n"
    assert read_metrics(text, "m", 0.0).saturation is None


def test_the_older_name_of_kv_usage_is_understood() -> None:
    """Older engines called it gpu_cache_usage_perc."""
    assert read_metrics("vllm:gpu_cache_usage_perc 0.25\n", "m", 0.0).kv_usage == 0.25


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text('vllm:nurqestgkcaped_{}"=0.1 \n', max_size=200))
def test_any_text_is_read(text: str) -> None:
    """Whatever a backend answers, reading it neither raises nor hangs."""
    got = read_metrics(text, "m", 0.0)
    assert got.at_s == 0.0
