"""The llm-d request headers, read as each router version reads them. Pure; bad values are ignored.

A version knows its own names only: canonical names exist from router 0.9, the older spellings stay aliases
(the canonical one wins), the TTL exists from 0.11. A header that a version does not know is ignored, as
the real one ignores it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.llmd.sim.config import RouterVersion
from controller.llmd.sim.durations import go_duration_s

DROPPED_REASON: Final = "x-llm-d-request-dropped-reason"
QUEUE_DURATION: Final = "x-llm-d-flow-queue-duration-ms"
DEFAULT_FLOW: Final = "default-flow"
FAIRNESS_ID_CHARS_MAX: Final = 256
"""A flow id is a label and a queue key; longer ones are cut."""

_NAMES: Final = {
    "objective": ("x-llm-d-inference-objective", "x-gateway-inference-objective"),
    "fairness": ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"),
    "ttft": ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"),
    "tpot": ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"),
    "rewrite": ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"),
}


@dataclass(frozen=True, slots=True)
class LlmdIntent:
    """What a request says to the endpoint picker; None where it says nothing that the version reads."""

    objective: str | None = None
    fairness_id: str = DEFAULT_FLOW
    ttft_ms: int | None = None
    tpot_ms: int | None = None
    ttl_s: float | None = None
    model_rewrite: str | None = None


def read_intent(headers: Mapping[str, str], version: RouterVersion) -> LlmdIntent:
    """Return what the router of `version` reads from `headers` (names in lower case)."""

    def value(what: str) -> str | None:
        canonical, alias = _NAMES[what]
        if version != "gaie" and canonical in headers:
            return headers[canonical]
        return headers.get(alias)

    ttl = headers.get("x-llm-d-inference-ttl") if version == "0.11" else None
    return LlmdIntent(
        objective=value("objective"),
        fairness_id=(value("fairness") or DEFAULT_FLOW)[:FAIRNESS_ID_CHARS_MAX],
        ttft_ms=_integer(value("ttft")),
        tpot_ms=_integer(value("tpot")),
        ttl_s=go_duration_s(ttl) if ttl else None,
        model_rewrite=value("rewrite"),
    )


def in_engine_time(intent: LlmdIntent, time_scale: float) -> LlmdIntent:
    """Return the intent with the client's durations in seconds of a faster engine."""
    if time_scale == 1:
        return intent
    return replace(
        intent,
        ttft_ms=None if intent.ttft_ms is None else round(intent.ttft_ms * time_scale),
        tpot_ms=None if intent.tpot_ms is None else round(intent.tpot_ms * time_scale),
        ttl_s=None if intent.ttl_s is None else intent.ttl_s * time_scale,
    )


def _integer(text: str | None) -> int | None:
    """Go's ParseInt: decimal digits with a sign, nothing else."""
    if text is None or not re.fullmatch(r"[+-]?[0-9]{1,12}", text):
        return None
    return int(text)
