"""The fixed splits that the search found on seed 1, so that a table comes in seconds.

`lumyn evaluate --search` searches again; a nightly test holds some of these against the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from controller.evaluate.split import Split


def _split(standard: float, batch: tuple[float, float, float], limit: int) -> Split:
    return Split({"premium": (1.0,), "standard": (standard, 1.0 - standard), "batch": batch}, limit)


SEARCHED: Final[Mapping[str, Split]] = MappingProxyType(
    {
        "spike4": _split(0.2, (0.0, 1.0, 0.0), 70),
        "spike6": _split(0.0, (0.0, 0.6, 0.4), 50),
        "spike9": _split(0.0, (0.0, 0.2, 0.8), 70),
        "ramp6": _split(0.0, (0.0, 0.6, 0.4), 70),
        "flash10": _split(0.2, (0.0, 0.2, 0.8), 70),
        "diurnal": _split(0.5, (0.0, 1.0, 0.0), 70),
        "burst3": _split(1.0, (0.0, 1.0, 0.0), 50),
        "burst5": _split(0.5, (0.0, 1.0, 0.0), 50),
        "reasoning": _split(0.0, (0.0, 0.6, 0.4), 50),
        "slow3": _split(0.0, (0.0, 1.0, 0.0), 50),
        "errors": _split(0.0, (0.0, 1.0, 0.0), 50),
        "limits": _split(0.0, (0.0, 1.0, 0.0), 50),
        "hang": _split(0.0, (0.0, 1.0, 0.0), 50),
        "lengths": _split(0.2, (0.0, 1.0, 0.0), 50),
        "code4": _split(0.2, (0.0, 1.0, 0.0), 50),
        "price3": _split(1.0, (1.0, 0.0, 0.0), 70),
        "budget": _split(1.0, (1.0, 0.0, 0.0), 50),
        "greedy": _split(0.2, (0.0, 1.0, 0.0), 50),
        "blackout": _split(0.2, (0.0, 1.0, 0.0), 70),
        "planner02": _split(1.0, (1.0, 0.0, 0.0), 50),
        "planner5": _split(1.0, (1.0, 0.0, 0.0), 70),
        "calm": _split(1.0, (1.0, 0.0, 0.0), 50),
        "base": _split(1.0, (1.0, 0.0, 0.0), 50),
        "retries": _split(0.0, (0.0, 0.6, 0.4), 50),
    }
)
"""By workload: the shares of each class on its rungs, and the limit of the large model."""
