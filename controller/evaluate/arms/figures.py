"""Figures of an arm: over a window, and over time. Misses count as infinite latency. Runs nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from controller.evaluate.arms.data import COMPLETE, REFUSED, Arm, Offered, Service, Spans, percentile, within

WIDTH_S: Final = 3.0
"""Each point over time is of the requests that were due in the three seconds that end there."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One window of one arm. Shares are of what was offered in it."""

    offered: int
    attainment: float
    by_service: Mapping[str, float]
    goodput_rps: float
    ttft_p50_s: float
    ttft_p95_s: float
    """Infinite where one in twenty never got a first token; as the others."""
    e2e_p95_s: float
    refused: int
    failed: int
    """Everything else that is not complete: failed, timed out, unfinished."""
    capped: int
    mix: Mapping[str, float]
    """Share of each model in what was served."""
    usd_per_hour: float


def figures(arm: Arm, spans: Spans, window: str = "all") -> Figures:
    """Return the figures of a window of `Spans.windows`."""
    span = spans.windows()[window]
    items = within(arm.offered, span)
    names = sorted({one.service for one in items})
    served = Counter(one.model for one in items if one.model)
    return Figures(
        offered=len(items),
        attainment=attainment(items),
        by_service={name: attainment([one for one in items if one.service == name]) for name in names},
        goodput_rps=sum(one.met for one in items) / max(span[1] - span[0], 1e-9),
        ttft_p50_s=percentile(map(_ttft, items), 0.5),
        ttft_p95_s=percentile(map(_ttft, items), 0.95),
        e2e_p95_s=percentile(map(_e2e, items), 0.95),
        refused=sum(one.status in REFUSED for one in items),
        failed=sum(one.status not in REFUSED | {COMPLETE} for one in items),
        capped=sum(one.capped for one in items),
        mix={model: count / served.total() for model, count in sorted(served.items())},
        usd_per_hour=math.fsum(one.cost_uusd for one in items) / 1e6 / max(span[1] - span[0], 1e-9) * 3600,
    )


def attainment(items: Sequence[Offered]) -> float:
    """Return the share that met all its targets; 1 of nothing."""
    return sum(one.met for one in items) / len(items) if items else 1.0


def lag_p99_s(arm: Arm) -> float:
    """Return how late requests and tool actions were sent, 99 % of them at the most."""
    lags = [one.lag_s for one in arm.offered] + [one.lag_s for one in arm.called]
    return percentile(lags, 0.99) if lags else 0.0


def causes(arm: Arm) -> dict[str, float]:
    """Return the share of each cause in what was offered."""
    counted = Counter(one.cause for one in arm.offered)
    return {cause: count / max(1, counted.total()) for cause, count in sorted(counted.items())}


def _ttft(one: Offered) -> float:
    return math.inf if one.ttft_s is None else one.ttft_s


def _e2e(one: Offered) -> float:
    return math.inf if one.e2e_s is None or one.status != COMPLETE else one.e2e_s


Points = tuple[float, ...]
"""One value a second; nan where there is nothing to say."""


def over_time(arm: Arm, spans: Spans, measure: Callable[[list[Offered]], float]) -> Points:
    """Return a measure by second, of what was due in the `WIDTH_S` before it."""
    return tuple(
        measure(within(arm.offered, (second - WIDTH_S, float(second))))
        for second in range(1, math.ceil(spans.end_s) + 1)
    )


def arrivals(arm: Arm, spans: Spans) -> Points:
    """Return requests a second, by second of their due time."""
    counted = Counter(int(one.at_s) for one in arm.offered)
    return tuple(float(counted[second]) for second in range(math.ceil(spans.end_s)))


def attained(arm: Arm, spans: Spans, service: str | None = None) -> Points:
    """Return the share that met its targets, by second; of one class or of all."""
    return over_time(arm, spans, lambda items: _or_nan(attainment, _of(items, service)))


def latency(arm: Arm, spans: Spans, service: Service, what: str, share: float) -> Points:
    """Return a percentile of `ttft` or `e2e` by second; infinite where so many were never answered."""
    pick = _ttft if what == "ttft" else _e2e
    return over_time(arm, spans, lambda items: percentile(map(pick, _of(items, service.name)), share))


def goodput(arm: Arm, spans: Spans) -> Points:
    """Return requests a second that met their targets."""
    return over_time(arm, spans, lambda items: sum(one.met for one in items) / WIDTH_S)


def usd_per_hour(arm: Arm, spans: Spans) -> Points:
    """Return what the requests of each moment cost, in dollars an hour."""
    return over_time(
        arm, spans, lambda items: math.fsum(one.cost_uusd for one in items) / 1e6 / WIDTH_S * 3600
    )


def share_of(arm: Arm, spans: Spans, model: str) -> Points:
    """Return a model's share in what was offered, by second; `""` is what no model served."""
    return over_time(
        arm,
        spans,
        lambda items: sum(one.model == model for one in items) / len(items) if items else math.nan,
    )


def counted(arm: Arm, spans: Spans, holds: Callable[[Offered], bool]) -> Points:
    """Return how many requests there are of which something holds, by second of their due time."""
    found = Counter(int(one.at_s) for one in arm.offered if holds(one))
    return tuple(float(found[second]) for second in range(math.ceil(spans.end_s)))


def _of(items: Sequence[Offered], service: str | None) -> list[Offered]:
    return [one for one in items if service is None or one.service == service]


def _or_nan(measure: Callable[[list[Offered]], float], items: list[Offered]) -> float:
    return measure(items) if items else math.nan
