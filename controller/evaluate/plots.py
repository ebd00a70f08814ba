"""Pictures of an evaluation: attainment and quality over time, policies side by side, prices and limits.

Needs matplotlib (extra `loadtest`); `draw` raises ModuleNotFoundError without it. The same entries give the
same bytes with the same matplotlib.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any, Final

from controller.evaluate.bound import Bound
from controller.evaluate.figures import Figures, lines_of
from controller.evaluate.matrix import Entry
from controller.evaluate.page import Picture
from controller.evaluate.report import OURS, mean_bound
from controller.evaluate.series import Series, mean_series
from controller.evaluate.workload import SPIKE_END_S, SPIKE_START_S

SIZE: Final = (9.0, 3.6)
DPI: Final = 90
_OVER_TIME: Final = (
    ("attainment", "attainment", "share of the requests of the last 5 s that met all their targets"),
    ("premium", "premium", "the same of premium requests alone"),
    ("quality", "served quality", "mean quality of the models that served the requests of the last 5 s"),
    ("usd_per_hour", "dollars an hour", "what the requests of the last 5 s cost"),
)


def draw(
    scenario: str, entries: Sequence[Entry], runs: Sequence[Figures], bounds: Sequence[Bound] = ()
) -> tuple[Picture, ...]:
    """Return the pictures of a scenario. Entries without a series are left out of those over time."""
    pictures = [_bars(scenario, runs, bounds)]
    by_policy: dict[str, list[Series]] = {}
    for entry in entries:
        if entry.series is not None:
            by_policy.setdefault(entry.policy, []).append(entry.series)
    if by_policy:
        pictures += [_over_time(scenario, name, label, about, by_policy) for name, label, about in _OVER_TIME]
    ours = by_policy.get(OURS)
    if ours:
        pictures.append(_control(scenario, ours[0]))
    return tuple(pictures)


def _figure(rows: int = 1) -> tuple[Any, Any]:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    size = (SIZE[0], SIZE[1] * rows)
    figure, axes = pyplot.subplots(rows, 1, figsize=size, layout="constrained", squeeze=False)
    return figure, axes


def _png(figure: Any, name: str, caption: str) -> Picture:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    pyplot.close(figure)
    return Picture(name, caption, out.getvalue())


def _bars(scenario: str, runs: Sequence[Figures], bounds: Sequence[Bound]) -> Picture:
    figure, ((axis,),) = _figure()
    lines = lines_of(runs)
    for offset, what in ((-0.27, "attainment"), (0.0, "premium"), (0.27, "utility")):
        places = [index + offset for index in range(len(lines))]
        axis.bar(places, [getattr(line, what) for line in lines], width=0.25, label=what)
        worst = [min(getattr(run, what) for run in runs if run.policy == line.policy) for line in lines]
        axis.plot(places, worst, "k_", markersize=9, label="worst seed" if what == "utility" else None)
    if bounds:
        axis.axhline(mean_bound(bounds)[0], color="grey", linestyle=":", label="bound on utility")
    axis.set_xticks(range(len(lines)), [line.policy for line in lines])
    axis.set_ylim(0, 1.05)
    axis.legend(loc="upper left", ncols=5, fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    return _png(
        figure, f"{scenario}-policies", f"{scenario}: the window of the disturbance, mean of the seeds"
    )


def _over_time(
    scenario: str, name: str, label: str, about: str, by_policy: dict[str, list[Series]]
) -> Picture:
    figure, ((axis,),) = _figure()
    for policy, many in by_policy.items():
        points = mean_series([getattr(series, name) for series in many])
        values = [float("nan") if point is None else point for point in points]
        ours = policy == OURS
        axis.plot(values, label=policy, linewidth=2.2 if ours else 1.0, zorder=3 if ours else 2)
    _span(axis)
    axis.set_xlabel("seconds")
    axis.set_ylabel(label)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return _png(figure, f"{scenario}-{name}", f"{scenario}: {about}, mean of the seeds")


def _control(scenario: str, series: Series) -> Picture:
    figure, ((above,), (below,)) = _figure(2)
    for model, prices in series.prices.items():
        above.plot(prices, label=model)
    for model, limits in series.limits.items():
        below.plot(limits, label=model)
    above.set_ylabel("congestion price")
    below.set_ylabel("in-flight limit")
    below.set_xlabel("seconds")
    for axis in (above, below):
        _span(axis)
        axis.legend(loc="upper left", fontsize=8)
    return _png(figure, f"{scenario}-control", f"{scenario}: what the controller moved, first seed")


def _span(axis: Any) -> None:
    axis.axvspan(SPIKE_START_S, SPIKE_END_S, color="grey", alpha=0.12)
    axis.grid(alpha=0.3)
