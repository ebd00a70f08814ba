"""Warn at load of targets that no permitted model can meet even when it is idle.

By the configured speeds, so a warning and never a refusal: the configuration may be wrong about them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from controller.catalogue import Catalogue, Model
from controller.intent.types import Intent, IntentProblem

PROMPT_TOKENS: Final = 500
ANSWER_TOKENS: Final = 100
"""A short exchange; what it cannot do, no ordinary request can."""


def infeasible_targets(
    intents: Iterable[Intent], catalogue: Catalogue, *, pointer: str = "/intents"
) -> tuple[IntentProblem, ...]:
    """Return one warning per target that every rung of its ladder misses on an idle backend."""
    found: list[IntentProblem] = []
    for index, intent in enumerate(intents):
        rungs = [catalogue[name] for name in intent.models if name in catalogue]
        if not rungs:
            continue
        latency = intent.latency
        for field, target_ms, best_ms in (
            ("ttft_ms", latency.ttft_ms, min(1000 * _ttft_s(model) for model in rungs)),
            ("tpot_ms", latency.tpot_ms, min(1000 * model.speed.decode_base_s for model in rungs)),
            ("e2e_ms", latency.e2e_ms, min(1000 * _e2e_s(model) for model in rungs)),
        ):
            if target_ms is not None and best_ms > target_ms:
                message = (
                    f"{target_ms:g} ms cannot be met by any model at or above the floor: the fastest needs "
                    f"{best_ms:.0f} ms when idle, for {PROMPT_TOKENS} tokens in and {ANSWER_TOKENS} out"
                )
                found.append(IntentProblem(message, f"{pointer}/{index}/latency/{field}"))
    return tuple(found)


def _ttft_s(model: Model) -> float:
    return model.speed.prefill_base_s + model.speed.prefill_token_s * PROMPT_TOKENS


def _e2e_s(model: Model) -> float:
    return _ttft_s(model) + model.speed.decode_base_s * (ANSWER_TOKENS - 1)
