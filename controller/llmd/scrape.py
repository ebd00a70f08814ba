"""Read what vLLM and llm-d's endpoint picker show in `/metrics`: gauges to signals with an age. Pure.

Only corroboration: every name may be missing, old or absurd, and is then unknown, never zero. The text is
bounded, and a line that is no sample is skipped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

METRICS_BYTES_MAX: Final = 4 * 1024 * 1024
"""An endpoint picker with a thousand fairness ids shows 2 MiB; more is not read."""
SCRAPE_AGE_MAX_S: Final = 5.0
_SAMPLE: Final = re.compile(
    r"([A-Za-z_:][A-Za-z0-9_:]{0,199})(?:\{([^}]{0,4000})\})?[ \t]+(\S{1,40})(?:[ \t]+-?\d+)?"
)
_LABEL: Final = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"')
_RUNNING: Final = ("vllm:num_requests_running",)
_WAITING: Final = ("vllm:num_requests_waiting",)
_KV: Final = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
_SATURATION: Final = (
    "llm_d_epp_flow_control_pool_saturation",
    "inference_extension_flow_control_pool_saturation",
)
_READY: Final = ("llm_d_epp_ready_endpoints", "inference_pool_ready_pods")
_STALE: Final = ("llm_d_epp_flow_control_stale_endpoints",)
COUNT_MAX: Final = 1_000_000.0
"""More requests than this in one engine is not a count."""


@dataclass(frozen=True, slots=True)
class Scraped:
    """What one scrape said; None is unknown."""

    at_s: float
    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    """0 to 1."""
    saturation: float | None = None
    """The picker's: 1.0 is its set point. Unknown while it says that its own metrics are stale."""
    ready_endpoints: int | None = None

    def fresh(self, now_s: float) -> bool:
        """Tell whether it is young enough to be looked at."""
        return 0.0 <= now_s - self.at_s <= SCRAPE_AGE_MAX_S


def read_metrics(text: str, model: str, at_s: float) -> Scraped:
    """Return the signals of a model from Prometheus text; of several replicas sums, and the mean of KV."""
    values = _values(text[:METRICS_BYTES_MAX].splitlines(), model)
    kv = [value for value in _first(values, _KV) if 0.0 <= value <= 1.0]
    saturation = max(_first(values, _SATURATION), default=None)
    stale = sum(_first(values, _STALE))
    ready = _total(values, _READY)
    return Scraped(
        at_s=at_s,
        running=_total(values, _RUNNING),
        waiting=_total(values, _WAITING),
        kv_usage=sum(kv) / len(kv) if kv else None,
        saturation=saturation if saturation is not None and saturation >= 0.0 and not stale else None,
        ready_endpoints=None if ready is None else int(ready),
    )


def _values(lines: Iterable[str], model: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    wanted = {*_RUNNING, *_WAITING, *_KV, *_SATURATION, *_READY, *_STALE}
    for line in lines:
        # the cheap test first: most lines are other metrics
        name = line.partition("{")[0].partition(" ")[0]
        if name not in wanted:
            continue
        found = _SAMPLE.fullmatch(line.strip())
        if found is None:
            continue
        labels = dict(_LABEL.findall(found[2] or ""))
        if labels.get("model_name", model) != model:
            continue
        number = _number(found[3])
        if number is not None:
            values.setdefault(name, []).append(number)
    return values


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _first(values: Mapping[str, list[float]], names: tuple[str, ...]) -> list[float]:
    """Return the samples of the first name that is there: newer spellings stand first."""
    return next((values[name] for name in names if name in values), [])


def _total(values: Mapping[str, list[float]], names: tuple[str, ...]) -> float | None:
    samples = _first(values, names)
    if not samples or any(not 0.0 <= value <= COUNT_MAX for value in samples):
        return None
    return sum(samples)
