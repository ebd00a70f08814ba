"""What experience memory tells the engine about one request: plain values, recorded as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class MemoryHit:
    """One remembered outcome that resembles the request. `score` is in 0..1."""

    memory_id: str
    label: str
    score: float
    summary: str


@dataclass(frozen=True, slots=True)
class MemoryAdvice:
    """What memory says: the best score over all failures, and the top hits of any label."""

    failure_score: float
    hits: tuple[MemoryHit, ...]
    snapshot: str
    """Names the prefix of the memory log that was consulted: its length and digest."""


NO_SNAPSHOT: Final = "memory:0:none"
NO_ADVICE: Final = MemoryAdvice(0.0, (), NO_SNAPSHOT)
