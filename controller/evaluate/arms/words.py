"""A comparison in words: the table, and the timeline of decisions. Makes text, runs nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from controller.evaluate.arms.data import Arm, Comparison, Told, percentile
from controller.evaluate.arms.figures import figures, lag_p99_s
from controller.evaluate.page import Table

GAP_S: Final = 5.0
"""Decisions of one kind that follow each other closer than this are one line of the timeline."""
TIMELINE_MAX: Final = 200
"""Lines of a timeline; a run of a minute has some dozens."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the timeline: a decision, and how many of its kind followed until when."""

    told: Told
    more: int = 0
    until_s: float = 0.0


def timeline(arm: Arm) -> tuple[Line, ...]:
    """Return an arm's decisions in order, those of one kind drawn together."""
    lines: list[Line] = []
    last: dict[tuple[str, str, str], int] = {}
    for told in sorted(arm.told, key=lambda one: one.at_s):
        key = (told.who, told.kind, told.text.partition(":")[0])
        index = last.get(key)
        if index is not None and told.at_s - max(lines[index].until_s, lines[index].told.at_s) <= GAP_S:
            lines[index] = replace(lines[index], more=lines[index].more + 1, until_s=told.at_s)
        else:
            last[key] = len(lines)
            lines.append(Line(told))
    return tuple(lines[:TIMELINE_MAX])


def timeline_text(arm: Arm) -> str:
    """Return the timeline, one line a decision: when, who, what and why."""
    lines = []
    for line in timeline(arm):
        more = f" (and {line.more} more until {clock(arm, line.until_s)})" if line.more else ""
        lines.append(f"{clock(arm, line.told.at_s)} {line.told.who}: {line.told.text}{more}")
    if len(arm.told) and len(lines) == TIMELINE_MAX:
        lines.append(f"... the first {TIMELINE_MAX} lines; every decision is in the records")
    return "\n".join(lines)


def epoch_words(epoch: Mapping[str, Any]) -> str:
    """Return an epoch (`controller.verify.Epoch` as plain data) in a sentence."""
    head = f"{epoch['model']} {epoch['kind'].replace('_', ' ')}"
    if epoch["verdict"] is None:
        return f"{head}: epoch {epoch['epoch_id']} opened, promise: {epoch['hypothesis']}"
    misses = f"misses {epoch['miss_before']:.2f} -> {epoch['miss_after']:.2f}"
    back = ", rolled back" if epoch["rolled_back"] else ""
    return f"{head}: epoch {epoch['epoch_id']} {epoch['verdict']} ({epoch['basis']}), {misses}{back}"


def clock(arm: Arm, at_s: float) -> str:
    """Return an instant of a run: by the wall clock where it had one, else in seconds."""
    if not arm.began:
        return f"t+{at_s:05.1f} s"
    began = datetime.strptime(arm.began, "%H:%M:%S").replace(tzinfo=UTC)
    return (began + timedelta(seconds=at_s)).strftime("%H:%M:%S")


def results(run: Comparison) -> Table:
    """Return the table of a run: one row an arm, over all that was offered, then over the spike."""
    services = [service.name for service in run.services]
    columns = (
        "arm", "window", "offered", "attained", *services, "good/s", "TTFT p50", "TTFT p95", "E2E p95",
        "refused", "failed", "capped", "$/h", "models",
    )  # fmt: skip
    rows = [_row(run, arm, window, services) for arm in run.arms for window in ("all", "spike")]
    return Table(columns, tuple(rows))


def _row(run: Comparison, arm: Arm, window: str, services: Sequence[str]) -> tuple[str, ...]:
    found = figures(arm, run.spans, window)
    return (
        arm.name if window == "all" else "",
        window,
        str(found.offered),
        f"{found.attainment:.3f}",
        *(f"{found.by_service[name]:.3f}" if name in found.by_service else "-" for name in services),
        f"{found.goodput_rps:.1f}",
        seconds(found.ttft_p50_s),
        seconds(found.ttft_p95_s),
        seconds(found.e2e_p95_s),
        str(found.refused),
        str(found.failed),
        str(found.capped),
        f"{found.usd_per_hour:.2f}",
        ", ".join(f"{model} {share:.0%}" for model, share in found.mix.items()),
    )


def generator(run: Comparison) -> Table:
    """Return the table about the generator itself: whether it kept its schedule."""
    columns = ("arm", "requests", "tool actions", "lag p99", "chunks/s at most", "chunks", "retries")
    rows = tuple(
        (
            arm.name,
            str(len(arm.offered)),
            str(len(arm.called)),
            f"{lag_p99_s(arm) * 1000:.1f} ms",
            str(max(arm.chunks, default=0)),
            str(sum(arm.chunks)),
            str(sum(one.tries - 1 for one in arm.offered)),
        )
        for arm in run.arms
    )
    return Table(columns, rows)


def tools(run: Comparison) -> Table:
    """Return the table about tool actions: what was decided, and how fast."""
    columns = ("arm", "asked", "decided", "p50", "p99", "verdicts")
    rows = []
    for arm in run.arms:
        waits = [math.inf if one.latency_s is None else one.latency_s for one in arm.called]
        verdicts = Counter(one.verdict for one in arm.called if one.verdict)
        rows.append(
            (
                arm.name,
                str(len(arm.called)),
                str(verdicts.total()),
                _ms(percentile(waits, 0.5)),
                _ms(percentile(waits, 0.99)),
                ", ".join(f"{name} {count}" for name, count in sorted(verdicts.items())),
            )
        )
    return Table(columns, tuple(rows))


def _ms(value: float) -> str:
    return f"{value * 1000:.1f} ms" if math.isfinite(value) else "-"


def seconds(value: float) -> str:
    """Return a latency; `never` where it is infinite."""
    if math.isnan(value):
        return "-"
    return "never" if math.isinf(value) else f"{value:.2f} s"


def text_table(table: Table) -> str:
    """Return a table as aligned text."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
    return "\n".join(_line(cells, widths) for cells in (table.columns, *table.rows))


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if index < 2 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
