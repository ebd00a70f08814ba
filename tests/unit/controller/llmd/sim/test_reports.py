"""What an answer tells of its making."""

import pytest

from controller.llmd.sim.reports import orca_headers, request_metrics
from controller.llmd.sim.types import EngineLoad, Finished

LOAD = EngineLoad(3, 7, 10, 0.25, 0, 0, 0, 0)


def test_the_orca_header_has_both_formats():
    """TEXT and JSON, in any case; another format is none."""
    told = "TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting=7"
    assert orca_headers("TEXT", LOAD) == {"endpoint-load-metrics": told}
    told = 'JSON {"named_metrics":{"kv_cache_usage_perc":0.25,"num_requests_waiting":7}}'
    assert orca_headers("json", LOAD) == {"endpoint-load-metrics": told}
    assert orca_headers("BIN", LOAD) == {}


def test_request_metrics_begin_when_the_prompt_is_scheduled():
    """In the client's milliseconds: at a scale of two they are half."""
    event = Finished("r", 11.0, 1.0, 2.0, 3.0, 100, 81, 0, 0)
    metrics = request_metrics(event, 2.0)
    assert metrics == pytest.approx(
        {
            "time_to_first_token_ms": 500,
            "queue_time_ms": 500,
            "generation_time_ms": 4000,
            "mean_itl_ms": 50,
            "tokens_per_second": 20,
        }
    )
    alone = request_metrics(Finished("r", 3.0, 1.0, 2.0, 3.0, 100, 1, 0, 0), 1.0)
    assert (alone["mean_itl_ms"], alone["tokens_per_second"]) == (None, None)
