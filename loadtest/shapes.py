"""The shapes of a load over time, in multiples of the base rate: the evaluation's, on spans of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from controller.evaluate.arms.data import Spans
from controller.evaluate.workload import diurnal, flash, flat, ramp, step

Shape = Callable[[float], float]
"""The rate in multiples of the base, at an instant in seconds."""

DIURNAL_PEAK: Final = 2.9
"""Peak over mean of a day of the largest public trace (ServeGen m-large)."""


def _spike(spans: Spans, times: float) -> Shape:
    return step(times, spans.base_s, spans.base_s + spans.peak_s)


def _step(spans: Spans, times: float) -> Shape:
    return step(times, spans.base_s, float("inf"))


def _ramp(spans: Spans, times: float) -> Shape:
    return ramp(times, spans.peak_s * 2 / 3, spans.base_s, spans.base_s + spans.peak_s)


def _flash(spans: Spans, times: float) -> Shape:
    return flash(times, spans.peak_s / 3, spans.peak_s * 2 / 3, spans.base_s)


def _diurnal(spans: Spans, times: float) -> Shape:
    del times  # a day has the peak that days have
    return diurnal(DIURNAL_PEAK, spans.end_s)


def _soak(spans: Spans, times: float) -> Shape:
    del spans, times
    return flat()


SHAPES: Final[Mapping[str, Callable[[Spans, float], Shape]]] = MappingProxyType(
    {
        "spike": _spike,
        "step": _step,
        "ramp": _ramp,
        "flash": _flash,
        "diurnal": _diurnal,
        "soak": _soak,
    }
)
"""By name: up and down again; up for good; a slow rise; a crowd that comes at once and leaves slowly; a day
in the length of the run; the base rate and nothing else."""


def shape(name: str, spans: Spans, times: float) -> Shape:
    """Return a shape over the spans of a run. Raise ValueError for an unknown name."""
    if name not in SHAPES:
        raise ValueError(f"no shape {name!r}; known: {', '.join(SHAPES)}")
    return SHAPES[name](spans, times)
