"""What an answer reports of its own making: vLLM's per-request metrics and the ORCA load header. Pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

from controller.llmd.sim.types import EngineLoad, Finished

ORCA_ASKED: Final = "endpoint-load-metrics-format"
ORCA_TOLD: Final = "endpoint-load-metrics"


def request_metrics(event: Finished, time_scale: float) -> dict[str, float | None]:
    """Return vLLM's `metrics` of one answer, in the client's time.

    Its time to first token begins when the prompt is scheduled: the user's is that plus the queue time.
    """
    decode_ms = (event.at_s - event.first_token_at_s) * 1000 / time_scale
    gaps = event.output_tokens - 1
    return {
        "time_to_first_token_ms": (event.first_token_at_s - event.scheduled_at_s) * 1000 / time_scale,
        "generation_time_ms": decode_ms,
        "queue_time_ms": (event.scheduled_at_s - event.arrived_at_s) * 1000 / time_scale,
        "mean_itl_ms": decode_ms / gaps if gaps > 0 else None,
        "tokens_per_second": 1000 * gaps / decode_ms if gaps > 0 and decode_ms > 0 else None,
    }


def orca_headers(asked: str, load: EngineLoad) -> dict[str, str]:
    """Return the load header in the format asked for, TEXT or JSON; none for any other."""
    named: dict[str, Any] = {
        "kv_cache_usage_perc": round(load.kv_usage, 6),
        "num_requests_waiting": load.waiting,
    }
    match asked.upper():
        case "TEXT":
            told = ", ".join(f"named_metrics.{name}={value}" for name, value in named.items())
            return {ORCA_TOLD: f"TEXT {told}"}
        case "JSON":
            return {ORCA_TOLD: f"JSON {orjson.dumps({'named_metrics': named}).decode()}"}
        case _:
            return {}
