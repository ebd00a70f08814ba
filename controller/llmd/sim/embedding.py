"""Embeddings out: unit vectors that depend on the seed and the text only. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, Final

from controller.llmd.sim.answer import Prompt
from controller.llmd.sim.draws import uniform
from controller.llmd.sim.shapes import Head

DIMENSIONS_MAX: Final = 8192
"""The largest embedding models give 4,096."""


def embedding_body(
    head: Head, prompts: Sequence[Prompt], seed: int, dimensions: int, *, as_base64: bool
) -> dict[str, Any]:
    """Return the answer to an embeddings call."""
    total = sum(prompt.tokens for prompt in prompts)
    data = []
    for index, prompt in enumerate(prompts):
        values = vector(seed, prompt.key, dimensions)
        told = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode() if as_base64 else values
        data.append({"object": "embedding", "index": index, "embedding": told})
    return {
        "id": head.answer_id,
        "object": "list",
        "created": head.created,
        "model": head.model,
        "data": data,
        "usage": {
            "prompt_tokens": total,
            "total_tokens": total,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


def vector(seed: int, key: str, dimensions: int) -> list[float]:
    """Return the unit vector of a key."""
    raw = [uniform(seed, "vector", f"{key}/{index}") - 0.5 for index in range(dimensions)]
    norm = sum(value * value for value in raw) ** 0.5 or 1.0
    return [value / norm for value in raw]
