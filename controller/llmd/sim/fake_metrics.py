"""Made-up metrics, told instead of the real ones: `--fake-metrics` of llm-d-inference-sim. Pure.

Gauges are numbers, or functions of time as `name:start:end:period`, with the names `oscillate` (a sine),
`ramp` (then it stays at the end), `rampreset` (then it begins again) and `squarewave`. Histograms are counts
a bucket, from the first one, and each observation stands at its bucket's upper bound. Fields are called as
there, with underscores where flags and bodies have hyphens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final

from pydantic import TypeAdapter, ValidationError

from controller.llmd.sim.durations import go_duration_s
from controller.llmd.sim.engine_config import SimConfigError, require
from controller.llmd.sim.exposition import Family
from controller.llmd.sim.metric_names import (
    ITL_BOUNDS,
    LATENCY_BOUNDS,
    TTFT_BOUNDS,
    count_bounds,
    vllm_families,
)

FUNCTIONS: Final = ("oscillate", "ramp", "rampreset", "squarewave")
REASONS: Final = ("stop", "length", "tool_calls", "remote_decode", "cache_threshold")
_GAUGES: Final = {
    "running_requests": ("vllm:num_requests_running",),
    "waiting_requests": ("vllm:num_requests_waiting",),
    "kv_cache_usage": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
}
_SECONDS: Final = {
    "ttft_buckets_values": (("time_to_first_token_seconds",), TTFT_BOUNDS),
    "tpot_buckets_values": (("time_per_output_token_seconds", "inter_token_latency_seconds"), ITL_BOUNDS),
    "e2erl_buckets_values": (("e2e_request_latency_seconds",), LATENCY_BOUNDS),
    "queue_time_buckets_values": (("request_queue_time_seconds",), LATENCY_BOUNDS),
    "inf_time_buckets_values": (("request_inference_time_seconds",), LATENCY_BOUNDS),
    "prefill_time_buckets_values": (("request_prefill_time_seconds",), LATENCY_BOUNDS),
    "decode_time_buckets_values": (("request_decode_time_seconds",), LATENCY_BOUNDS),
}
_COUNTS: Final = {
    "request_prompt_tokens": "vllm:request_prompt_tokens",
    "request_generation_tokens": "vllm:request_generation_tokens",
    "request_max_generation_tokens": "vllm:request_max_num_generation_tokens",
    "request_params_max_tokens": "vllm:request_params_max_tokens",
}
_TOTALS: Final = {
    "total_prompt_tokens": ("vllm:prompt_tokens_total", "request_prompt_tokens"),
    "total_generation_tokens": ("vllm:generation_tokens_total", "request_generation_tokens"),
    "prefix_cache_hits": ("vllm:prefix_cache_hits_total", None),
    "prefix_cache_queries": ("vllm:prefix_cache_queries_total", None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeLoras:
    """One series of `vllm:lora_requests_info`: adapters by comma, and its date in seconds since 1970."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    running: str = ""
    waiting: str = ""
    timestamp: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeMetrics:
    """What to tell; None is not told."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    running_requests: float | str | None = None
    waiting_requests: float | str | None = None
    kv_cache_usage: float | str | None = None
    loras: tuple[FakeLoras, ...] | None = None
    ttft_buckets_values: tuple[int, ...] | None = None
    tpot_buckets_values: tuple[int, ...] | None = None
    e2erl_buckets_values: tuple[int, ...] | None = None
    queue_time_buckets_values: tuple[int, ...] | None = None
    inf_time_buckets_values: tuple[int, ...] | None = None
    prefill_time_buckets_values: tuple[int, ...] | None = None
    decode_time_buckets_values: tuple[int, ...] | None = None
    request_prompt_tokens: tuple[int, ...] | None = None
    request_generation_tokens: tuple[int, ...] | None = None
    request_max_generation_tokens: tuple[int, ...] | None = None
    request_params_max_tokens: tuple[int, ...] | None = None
    request_success_total: Mapping[str, int] | None = None
    total_prompt_tokens: int | None = None
    total_generation_tokens: int | None = None
    prefix_cache_hits: int | None = None
    prefix_cache_queries: int | None = None

    def __post_init__(self) -> None:
        for name in _GAUGES:
            top = 1.0 if name == "kv_cache_usage" else math.inf
            for value in _values(name, getattr(self, name)):
                require(0 <= value <= top, f"fake_metrics.{name} must be between 0 and {top:g}")
        for name, (_, bounds) in _SECONDS.items():
            _require_counts(name, getattr(self, name), len(bounds) + 1)
        for name in _COUNTS:
            _require_counts(name, getattr(self, name), 64)
        for name in _TOTALS:
            require((getattr(self, name) or 0) >= 0, f"fake_metrics.{name} must not be negative")
        for reason, count in (self.request_success_total or {}).items():
            require(reason in REASONS, f"fake_metrics.request_success_total: {reason!r} is none of {REASONS}")
            require(count >= 0, f"fake_metrics.request_success_total.{reason} must not be negative")
        hits, queries = self.prefix_cache_hits, self.prefix_cache_queries
        require((hits is None) == (queries is None), "fake prefix_cache_hits and _queries go together")
        require(
            (hits or 0) <= (queries or 0), "fake prefix_cache_hits must not be above prefix_cache_queries"
        )

    @classmethod
    def read(cls, data: Any) -> FakeMetrics:
        """Read what a flag or a body gives. Raise `SimConfigError`."""
        if not isinstance(data, dict):
            raise SimConfigError('fake-metrics must be a JSON object, such as {"running-requests": 5}')
        try:
            return _ADAPTER.validate_python({name.replace("-", "_"): value for name, value in data.items()})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"][:1]).replace("_", "-") or "fake-metrics"
            raise SimConfigError(f"fake-metrics: {where}: {first['msg'].lower()}") from error

    def changed(self, data: Any) -> FakeMetrics:
        """Return these with what `data` gives changed; null leaves as it is. Raise `SimConfigError`."""
        new = self.read(data)
        given = {each.name: getattr(new, each.name) for each in fields(new)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def families(
        self, models: Sequence[str], engine: str, now: tuple[float, float], context_max: int
    ) -> dict[str, Family]:
        """Return vLLM's families with these values, for each model at (elapsed, wall) seconds."""
        made = vllm_families(context_max)
        for model in models:
            self._tell(made, (model, engine), now, count_bounds(context_max))
        return made

    def _tell(
        self,
        made: dict[str, Family],
        names: tuple[str, str],
        now: tuple[float, float],
        bounds_of_counts: tuple[float, ...],
    ) -> None:
        for name, gauges in _GAUGES.items():
            value = self._gauge(name, now[0])
            for gauge in gauges if value is not None else ():
                made[gauge].set(names, value if value is not None else 0.0)
        for name, (histograms, bounds) in _SECONDS.items():
            for histogram in histograms:
                _fill(made[f"vllm:{histogram}"], names, bounds, getattr(self, name) or ())
        for name, histogram in _COUNTS.items():
            _fill(made[histogram], names, bounds_of_counts, getattr(self, name) or ())
        for name, (counter, samples) in _TOTALS.items():
            total = getattr(self, name)
            if total is None and samples is not None and getattr(self, samples) is not None:
                total = _total(bounds_of_counts, getattr(self, samples))
            if total is not None:
                made[counter].add(names, total)
        for reason in REASONS if self.request_success_total is not None else ():
            count = (self.request_success_total or {}).get(reason, 0)
            made["vllm:request_success_total"].add((*names, reason), count)
        for each in self.loras or (FakeLoras(timestamp=now[1]),):
            made["vllm:lora_requests_info"].set((*names, "1", each.waiting, each.running), each.timestamp)

    def _gauge(self, name: str, elapsed_s: float) -> float | None:
        given = getattr(self, name)
        if not isinstance(given, str):
            return None if given is None else float(given)
        value = at(given, elapsed_s)
        return value if name == "kv_cache_usage" else float(int(value))


_ADAPTER: Final = TypeAdapter(FakeMetrics)


def at(function: str, elapsed_s: float) -> float:
    """Return the value of `name:start:end:period` after so many seconds. Raise `SimConfigError`."""
    name, start, end, period_s = _function(function)
    share = elapsed_s / period_s
    match name:
        case "oscillate":
            return (start + end) / 2 + (end - start) / 2 * math.sin(2 * math.pi * share)
        case "ramp":
            return end if share >= 1 else start + share * (end - start)
        case "rampreset":
            return start + share % 1 * (end - start)
        case _:
            return start if share % 1 < 0.5 else end


def _function(text: str) -> tuple[str, float, float, float]:
    parts = text.split(":")
    period_s = go_duration_s(parts[3]) if len(parts) == 4 else None
    try:
        start, end = float(parts[1]), float(parts[2])
    except (ValueError, IndexError):
        period_s, start, end = None, 0.0, 0.0
    if parts[0] not in FUNCTIONS or period_s is None or not (math.isfinite(start) and math.isfinite(end)):
        known = ", ".join(FUNCTIONS)
        raise SimConfigError(f"{text!r} is no number and no name:start:end:period with {known}")
    return parts[0], start, end, period_s


def _values(name: str, given: float | str | None) -> tuple[float, ...]:
    """Return the numbers to check: the value, or start and end of the function."""
    if given is None:
        return ()
    if isinstance(given, str):
        return _function(given)[1:3]
    require(math.isfinite(given), f"fake_metrics.{name} must be finite")
    return (given,)


def _require_counts(name: str, values: tuple[int, ...] | None, longest: int) -> None:
    require(len(values or ()) <= longest, f"fake_metrics.{name} has more than {longest} values")
    require(all(value >= 0 for value in values or ()), f"fake_metrics.{name} must not be negative")


def _edges(bounds: tuple[float, ...], counts: tuple[int, ...]) -> list[tuple[float, int]]:
    """Return (value, times) of each bucket: its upper bound, and one more than the last for the open one."""
    return list(zip((*bounds, bounds[-1] + 1), counts, strict=False))


def _fill(family: Family, names: tuple[str, str], bounds: tuple[float, ...], counts: tuple[int, ...]) -> None:
    for value, times in _edges(bounds, counts):
        if times:
            family.observe(names, value, times)


def _total(bounds: tuple[float, ...], counts: tuple[int, ...]) -> int:
    return int(sum(int(value) * times for value, times in _edges(bounds, counts)))
