"""A run over time, a point a second, for plots: what was attained and served, and what the controller did."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.core import TickReport
from controller.evaluate.run import Result, Served
from controller.evaluate.workload import END_S
from controller.evaluate.world import QUALITY

WIDTH_S: Final = 5
"""Each point is of the requests that arrived in the five seconds that end there."""
DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Series:
    """Shares and means by second of arrival; None where nothing arrived, or nothing was served."""

    attainment: tuple[float | None, ...]
    premium: tuple[float | None, ...]
    quality: tuple[float | None, ...]
    usd_per_hour: tuple[float | None, ...]
    prices: Mapping[str, tuple[float, ...]]
    """The congestion price of each model by second, in value a server-second; empty without a controller."""
    limits: Mapping[str, tuple[int, ...]]
    """The in-flight limit of each model by second."""


def series_of(result: Result, ticks: Sequence[TickReport] = ()) -> Series:
    """Return a run over time."""
    by_second: list[list[Served]] = [[] for _ in range(int(END_S))]
    for item in result.served:
        if item.job.at_s < END_S:
            by_second[int(item.job.at_s)].append(item)
    whole = [tick for tick in ticks if tick.state.at_s.is_integer() and tick.state.at_s <= END_S]
    names = [model.name for model in whole[0].state.models] if whole else []
    return Series(
        attainment=_over_time(by_second, lambda items: _mean(item.met for item in items)),
        premium=_over_time(
            by_second, lambda items: _mean(item.met for item in items if item.job.kind.name == "premium")
        ),
        quality=_over_time(
            by_second,
            lambda items: _mean(QUALITY[item.model] for item in items if item.status == "complete"),
        ),
        usd_per_hour=_over_time(
            by_second, lambda items: round(sum(item.cost_uusd for item in items) / WIDTH_S * 3600 / 1e6, 2)
        ),
        prices={
            name: tuple(round(tick.state.models[index].price, DIGITS) for tick in whole)
            for index, name in enumerate(names)
        },
        limits={
            name: tuple(tick.state.models[index].limit for tick in whole) for index, name in enumerate(names)
        },
    )


def mean_series(many: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
    """Return the mean over runs, point by point; None where no run has a value."""
    return tuple(_mean(value for value in values if value is not None) for values in zip(*many, strict=True))


def _over_time(
    by_second: Sequence[Sequence[Served]], measure: Callable[[list[Served]], float | None]
) -> tuple[float | None, ...]:
    return tuple(
        measure([item for cell in by_second[max(0, second - WIDTH_S + 1) : second + 1] for item in cell])
        for second in range(len(by_second))
    )


def _mean(values: Iterable[float]) -> float | None:
    items = list(values)
    return round(sum(items) / len(items), DIGITS) if items else None
