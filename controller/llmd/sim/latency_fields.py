"""The latency fields of llm-d-inference-sim, as flags and `/admin/config` give them, to configurations. Pure.

Durations are Go's (`250ms`, `1.5s`), or bare numbers of milliseconds as in its older releases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from controller.llmd.sim.durations import go_duration_s
from controller.llmd.sim.engine_config import CompatLatency, KvTransfer, SimConfigError

LATENCY_MS: Final = {
    "time-to-first-token": "ttft_ms",
    "time-to-first-token-std-dev": "ttft_std_ms",
    "inter-token-latency": "itl_ms",
    "inter-token-latency-std-dev": "itl_std_ms",
    "prefill-overhead": "prefill_overhead_ms",
    "prefill-time-per-token": "prefill_token_ms",
    "prefill-time-std-dev": "prefill_std_ms",
}
"""Durations of the compat formula."""
TRANSFER_MS: Final = {
    "kv-cache-transfer-latency": "latency_ms",
    "kv-cache-transfer-latency-std-dev": "latency_std_ms",
    "kv-cache-transfer-time-per-token": "token_ms",
    "kv-cache-transfer-time-std-dev": "token_std_ms",
}
"""Durations of a transfer between replicas, which step model and compat formula have both."""
FORMULA: Final = {
    "latency-calculator": "calculator",
    "time-factor-under-load": "factor_under_load",
    "whole-milliseconds": "whole_ms",
}
"""The other fields of the compat formula."""
LATENCY_FIELDS: Final = frozenset({*LATENCY_MS, *TRANSFER_MS, *FORMULA})


def duration_ms(given: Any) -> float:
    """Return the milliseconds of a duration. Raise `SimConfigError`."""
    seconds: float | None = None
    if isinstance(given, str):
        try:
            given = float(given)
        except ValueError:
            seconds = 0.0 if given in {"0s", "0ms"} else go_duration_s(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        seconds = given / 1000
    if seconds is None or not math.isfinite(seconds):
        raise SimConfigError(f"{given!r} is no duration: write 250ms, 1.5s, or a number of milliseconds")
    return round(seconds * 1000, 9)  # 9ms is 9, not 9.000000000000002


def changed_latency(latency: CompatLatency, given: Mapping[str, Any]) -> CompatLatency:
    """Return the compat latency with the fields of it that are given. Raise `SimConfigError`."""
    changes: dict[str, Any] = {
        field: duration_ms(given[name]) for name, field in LATENCY_MS.items() if name in given
    }
    calculator = given.get("latency-calculator", latency.calculator)
    if calculator not in {"", "constant", "per-token"}:
        raise SimConfigError("latency-calculator must be constant or per-token, or empty")
    factor = given.get("time-factor-under-load", latency.factor_under_load)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not math.isfinite(factor):
        raise SimConfigError("time-factor-under-load must be a number of at least 1.0")
    changes |= {"calculator": calculator, "factor_under_load": float(factor)}
    if "whole-milliseconds" in given:
        changes["whole_ms"] = given["whole-milliseconds"] is True
    return replace(latency, **changes)


def changed_transfer(transfer: KvTransfer, given: Mapping[str, Any]) -> KvTransfer:
    """Return the transfer's durations with those that are given. Raise `SimConfigError`."""
    changes = {field: duration_ms(given[name]) for name, field in TRANSFER_MS.items() if name in given}
    return replace(transfer, **changes)
