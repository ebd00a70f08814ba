"""The time of engine steps, one by one and many at once. Pure arithmetic, from llm-d.md D3."""

from __future__ import annotations

import math

from controller.llmd.sim.engine_config import StepModel


def step_ms(
    model: StepModel,
    *,
    prefill_tokens: int = 0,
    decodes: int = 0,
    context_tokens: int = 0,
    attention_pairs: int = 0,
) -> float:
    """Return the milliseconds of one engine step.

    `context_tokens` are the KV tokens resident, before the step, for the sequences in it;
    `attention_pairs` is the sum over prompt chunks of chunk length times prompt computed so far. The
    fourth-power mean is a smooth maximum of reading the weights and of computing the tokens.
    """
    tokens = prefill_tokens + decodes
    gemm: float = (model.floor_ms**4 + (model.token_ms * tokens) ** 4) ** 0.25
    return (
        gemm
        + model.kv_ms * context_tokens
        + model.seq_ms * decodes
        + model.host_ms
        + model.comm_ms
        + model.comm_token_ms * tokens
        + model.attention_ms * attention_pairs
    )


def stride_s(first_s: float, growth_s: float, steps: int) -> float:
    """Return the time of `steps` steps, the first of which takes `first_s` and each next `growth_s` more."""
    return steps * first_s + growth_s * (steps * (steps - 1) / 2)


def steps_within(first_s: float, growth_s: float, limit_s: float, steps_max: int) -> int:
    """Return the most steps, 1 to `steps_max`, that end within `limit_s`; 1 when not even one does.

    The inverse of `stride_s`; the two agree to the last bit, because the guess is checked against it.
    """
    if stride_s(first_s, growth_s, steps_max) <= limit_s:
        return steps_max
    if growth_s > 0:
        half = first_s - growth_s / 2
        guess = (math.sqrt(half * half + 2 * growth_s * limit_s) - half) / growth_s
    else:
        guess = limit_s / first_s
    steps = min(max(int(guess), 1), steps_max)
    while steps < steps_max and stride_s(first_s, growth_s, steps + 1) <= limit_s:
        steps += 1
    while steps > 1 and stride_s(first_s, growth_s, steps) > limit_s:
        steps -= 1
    return steps
