"""The latency formula of llm-d-inference-sim (`latencies.go` of v0.10.2), without its clock. Pure arithmetic.

With `f = 1 + (F - 1) * (running - 1) / (max_num_seqs - 1)`, F the factor under load:

    constant    TTFT = ttft * f
    per-token   TTFT = (overhead + (prompt - cached) * per token) * f
    unset       constant when ttft or its deviation is not 0, else per-token
    remote      TTFT = transfer latency, or prompt * transfer per token, by the same rule; f does not apply
    always      ITL = itl * f, drawn anew for every token

Draws are Gaussian and kept within 70 % of the mean on both sides; f multiplies means, not deviations. The Go
program cuts means, deviations and draws to whole milliseconds; here only when `whole_ms` asks for it.
"""

from __future__ import annotations

import math
from typing import Final

from controller.llmd.sim.engine_config import CompatLatency, KvTransfer

CLAMP: Final = 0.7
"""Draws stay within this share of the mean, on both sides."""


def load_factor(factor_under_load: float, running: int, seqs_max: int) -> float:
    """Return the multiplier on all latencies with `running` requests at work."""
    if seqs_max <= 1:
        return 1.0
    return 1.0 + (factor_under_load - 1.0) * (running - 1) / (seqs_max - 1)


def first_token_ms(
    latency: CompatLatency, *, prompt_tokens: int, cached_tokens: int = 0, factor: float = 1.0
) -> tuple[float, float]:
    """Return the (mean, deviation) of the time to first token of a prompt computed here."""
    unset_constant = latency.calculator == "" and (latency.ttft_ms > 0 or latency.ttft_std_ms > 0)
    if latency.calculator == "constant" or unset_constant:
        return latency.ttft_ms * factor, latency.ttft_std_ms
    uncached = prompt_tokens - cached_tokens
    mean = latency.prefill_overhead_ms * factor + uncached * (latency.prefill_token_ms * factor)
    return mean, latency.prefill_std_ms


def transfer_ms(transfer: KvTransfer, calculator: str, prompt_tokens: int) -> tuple[float, float]:
    """Return the (mean, deviation) of the time to fetch a prompt's cache that was computed elsewhere."""
    unset_constant = calculator == "" and (transfer.latency_ms > 0 or transfer.latency_std_ms > 0)
    if calculator == "constant" or unset_constant:
        return transfer.latency_ms, transfer.latency_std_ms
    return prompt_tokens * transfer.token_ms, transfer.token_std_ms


def drawn_ms(mean: float, deviation: float, normal: float, *, whole_ms: bool = False) -> float:
    """Return the duration for a standard normal number."""
    if whole_ms:
        mean, deviation = math.floor(mean), math.floor(deviation)
    value = min(max(mean + deviation * normal, mean * (1 - CLAMP)), mean * (1 + CLAMP))
    return math.floor(value) if whole_ms else value
