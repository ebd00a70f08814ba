"""The plots of a comparison, as PNG. Needs matplotlib (extra `loadtest`): without it ModuleNotFoundError.

Panels of one kind stand side by side, an arm each, on the same scales. What was never answered is drawn at
the top of its panel.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from controller.evaluate.arms import figures
from controller.evaluate.arms.data import REFUSED, Arm, Comparison, Service
from controller.evaluate.arms.figures import Points
from controller.evaluate.page import Picture

PANEL: Final = (4.6, 2.7)
COLUMNS_MAX: Final = 3
DPI: Final = 110
COLOURS: Final = ("#0b6e99", "#d9730d", "#6940a5", "#0f7b6c", "#ad1a72", "#9b9a97")
_LATENCY_ROOM: Final = 3.0
"""Latency panels end at this many times the largest target: beyond, a miss is a miss."""


def draw(run: Comparison) -> tuple[Picture, ...]:
    """Return the pictures of a run."""
    pictures = [
        _arrivals(run),
        _latencies(run, "ttft", "first token"),
        _latencies(run, "e2e", "whole answer"),
        _attained(run),
        _cost(run),
        _mix(run),
        _turned_away(run),
    ]
    if any(arm.moments and arm.moments[0].prices for arm in run.arms):
        pictures.append(_control(run))
    return tuple(pictures)


def _arrivals(run: Comparison) -> Picture:
    return _panels(
        run,
        "arrivals",
        "what was asked, and what of it met its targets: requests a second",
        lambda axis, arm: _lines(
            axis,
            run,
            [
                ("offered", figures.arrivals(arm, run.spans), COLOURS[5]),
                ("met its targets", figures.goodput(arm, run.spans), COLOURS[3]),
            ],
        ),
    )


def _latencies(run: Comparison, what: str, title: str) -> Picture:
    targets = [
        target for one in run.services if (target := one.ttft_s if what == "ttft" else one.e2e_s) is not None
    ]
    top_s = _LATENCY_ROOM * max(targets, default=10.0)

    def fill(axis: Any, arm: Arm) -> None:
        for colour, service in zip(COLOURS, run.services, strict=False):
            _latency(axis, run, arm, service, what, colour, top_s)
        axis.set_ylim(0, top_s * 1.02)

    return _panels(
        run,
        what,
        f"{title} by class: p50 (thin) and p95 (thick), seconds from the due time; dashed: the target; "
        "at the top: later, or never",
        fill,
    )


def _latency(
    axis: Any, run: Comparison, arm: Arm, service: Service, what: str, colour: str, top_s: float
) -> None:
    for share, width in ((0.5, 0.8), (0.95, 2.0)):
        points = figures.latency(arm, run.spans, service, what, share)
        capped = [min(point, top_s) if not math.isnan(point) else point for point in points]
        axis.plot(capped, color=colour, linewidth=width, label=service.name if share > 0.5 else None)
    target = service.ttft_s if what == "ttft" else service.e2e_s
    if target is not None:
        axis.axhline(target, color=colour, linestyle="--", linewidth=0.8)


def _attained(run: Comparison) -> Picture:
    def fill(axis: Any, arm: Arm) -> None:
        lines = [("all", figures.attained(arm, run.spans), "black")]
        lines += [
            (one.name, figures.attained(arm, run.spans, one.name), colour)
            for colour, one in zip(COLOURS, run.services, strict=False)
        ]
        _lines(axis, run, lines)
        axis.set_ylim(-0.03, 1.06)

    return _panels(run, "attainment", "share of the requests that met all their targets", fill)


def _cost(run: Comparison) -> Picture:
    tops = [figures.usd_per_hour(arm, run.spans) for arm in run.arms]
    top = max((point for points in tops for point in points), default=0.0)

    def fill(axis: Any, arm: Arm) -> None:
        _lines(axis, run, [("cost", figures.usd_per_hour(arm, run.spans), COLOURS[0])])
        if run.usd_per_hour is not None:
            axis.axhline(run.usd_per_hour, color=COLOURS[1], linestyle="--", linewidth=1, label="budget")
        axis.set_ylim(0, max(top, run.usd_per_hour or 0.0) * 1.1 + 1e-9)

    return _panels(run, "cost", "what the requests of each moment cost, dollars an hour", fill)


def _mix(run: Comparison) -> Picture:
    models = sorted({one.model for arm in run.arms for one in arm.offered if one.model})

    def fill(axis: Any, arm: Arm) -> None:
        names = [*models, ""]
        points = [figures.share_of(arm, run.spans, name) for name in names]
        stacked = [[0.0 if math.isnan(point) else point for point in row] for row in points]
        colours = [*COLOURS[: len(models)], "#dddddd"]
        labels = [*models, "none"]
        axis.stackplot(range(len(stacked[0])), *stacked, labels=labels, colors=colours)
        axis.set_ylim(0, 1)

    return _panels(run, "models", "which model served the requests of each moment", fill)


def _turned_away(run: Comparison) -> Picture:
    return _panels(
        run,
        "pressure",
        "what pressure did: requests a second that were refused, capped or not answered in time; queue",
        lambda axis, arm: _pressure(axis, run, arm),
    )


def _pressure(axis: Any, run: Comparison, arm: Arm) -> None:
    refused = figures.counted(arm, run.spans, lambda one: one.status in REFUSED)
    capped = figures.counted(arm, run.spans, lambda one: one.capped)
    late = figures.counted(arm, run.spans, lambda one: not one.met and one.status not in REFUSED)
    _lines(
        axis,
        run,
        [("refused", refused, COLOURS[4]), ("capped", capped, COLOURS[2]), ("late", late, COLOURS[1])],
    )
    if arm.moments:
        at = [moment.at_s for moment in arm.moments]
        axis.plot(at, [moment.queued for moment in arm.moments], color="black", linewidth=0.8, label="queue")
        axis.set_xlim(0, run.spans.end_s)


def _control(run: Comparison) -> Picture:
    arms = [arm for arm in run.arms if arm.moments and arm.moments[0].prices]
    figure, axes = _figure(2, len(arms), "row")
    for column, arm in enumerate(arms):
        above, below = axes[0][column], axes[1][column]
        at = [moment.at_s for moment in arm.moments]
        for colour, model in zip(COLOURS, arm.moments[0].prices, strict=False):
            prices = [moment.prices.get(model, math.nan) for moment in arm.moments]
            limits = [moment.limits.get(model, math.nan) for moment in arm.moments]
            above.plot(at, prices, color=colour, label=model)
            below.plot(at, limits, color=colour, label=model)
        above.set_title(arm.name, fontsize=10)
        above.set_ylabel("congestion price", fontsize=8)
        below.set_ylabel("in-flight limit", fontsize=8)
        for axis in (above, below):
            _dress(axis, run)
    caption = "what the controller moved: the price of each model, and how many requests it may hold"
    return _png(figure, "control", caption)


def _panels(run: Comparison, name: str, caption: str, fill: Callable[[Any, Arm], None]) -> Picture:
    columns = min(max(1, len(run.arms)), COLUMNS_MAX)
    figure, axes = _figure(math.ceil(max(1, len(run.arms)) / columns), columns, "all")
    places = list(axes.flat)
    for axis, arm in zip(places, run.arms, strict=False):
        fill(axis, arm)
        axis.set_title(arm.name, fontsize=10)
        _dress(axis, run)
    for axis in places[len(run.arms) :]:
        axis.set_axis_off()
    return _png(figure, name, caption)


def _lines(axis: Any, run: Comparison, lines: Sequence[tuple[str, Points, str]]) -> None:
    for label, points, colour in lines:
        axis.plot(points, label=label, color=colour, linewidth=1.6)
    axis.set_xlim(0, run.spans.end_s)


def _dress(axis: Any, run: Comparison) -> None:
    up, down = run.spans.windows()["spike"]
    axis.axvspan(up, down, color="grey", alpha=0.12)
    axis.grid(alpha=0.3)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("seconds", fontsize=8)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper left", fontsize=7, framealpha=0.7)


def _figure(rows: int, columns: int, sharey: str) -> tuple[Any, Any]:
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    size = (PANEL[0] * columns, PANEL[1] * rows)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, sharey=sharey)
    # margins in inches, by hand: a layout that is solved for takes most of the time that drawing takes
    figure.subplots_adjust(
        left=0.55 / size[0], right=1 - 0.1 / size[0], bottom=0.5 / size[1], top=1 - 0.3 / size[1],
        wspace=0.08, hspace=0.35,
    )  # fmt: skip
    return figure, axes


def _png(figure: Any, name: str, caption: str) -> Picture:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    pyplot.close(figure)
    return Picture(name, caption, out.getvalue())
