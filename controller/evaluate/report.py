"""Tables and JSON of an evaluation: text for a terminal, Markdown for `docs/control.md`. Runs nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from controller.evaluate.bound import Bound
from controller.evaluate.figures import Figures, Line, figures_from_plain, lines_of, plain_figures
from controller.evaluate.matrix import Entry, paired_difference
from controller.evaluate.split import Split

_HEAD: Final = (
    "policy         attainment (worst)  premium (worst)  before  after  utility  quality   shed  "
    "$/h    settle  revers  recover"
)
_MARKDOWN_HEAD: Final = (
    "| policy | attainment | premium | attainment after | utility | quality | shed | $/h |",
    "|---|---|---|---|---|---|---|---|",
)
OURS: Final = "controlled"


def table(runs: Sequence[Figures], bounds: Sequence[Bound] = ()) -> str:
    """Return the table of a scenario: one line per policy, mean over seeds, and the worst seed."""
    lines = [_HEAD, "-" * len(_HEAD), *map(_text_line, lines_of(runs))]
    if bounds:
        utility, practical = mean_bound(bounds)
        lines.append(f"{'bound':14s} utility {utility:.3f}; with 85 % of the capacity {practical:.3f}")
    return "\n".join(lines)


def _text_line(line: Line) -> str:
    return (
        f"{line.policy:14s} {line.attainment:6.3f} ({line.attainment_worst:.3f})     "
        f"{line.premium:.3f} ({line.premium_worst:.3f})    {line.before:.3f}  {line.after:.3f}  "
        f"{line.utility:.3f}    {line.quality:.3f}    {line.shed:.3f}  {line.usd_per_hour:5.1f}  "
        f"{_seconds(line.settling_worst_s)}  {line.reversals_worst:5.1f}  {_seconds(line.recovery_worst_s)}"
    )


def _seconds(value: float) -> str:
    return "  never" if math.isinf(value) else f"{value:5.0f} s"


def markdown(runs: Sequence[Figures], bounds: Sequence[Bound] = ()) -> str:
    """Return the same table as `docs/control.md` shows it: the spike window, mean (worst) of the seeds."""
    lines = [*_MARKDOWN_HEAD, *map(_markdown_line, lines_of(runs))]
    if bounds:
        utility, practical = mean_bound(bounds)
        lines.append(f"| clairvoyant bound | | | | {utility:.3f} | | | |")
        lines.append(f"| at 85 % of the capacity | | | | {practical:.3f} | | | |")
    return "\n".join(lines)


def _markdown_line(line: Line) -> str:
    cells = (
        f"**{line.policy}**" if line.policy == OURS else line.policy,
        f"{line.attainment:.3f} ({line.attainment_worst:.3f})",
        f"{line.premium:.3f} ({line.premium_worst:.3f})",
        f"{line.after:.3f}",
        f"{line.utility:.3f}",
        f"{line.quality:.3f}",
        f"{line.shed:.3f}",
        f"{line.usd_per_hour:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def mean_bound(bounds: Sequence[Bound]) -> tuple[float, float]:
    """Return the mean over seeds of the bound on utility, and of the one at 85 % of the capacity."""
    return (
        math.fsum(item.utility for item in bounds) / len(bounds),
        math.fsum(item.practical for item in bounds) / len(bounds),
    )


def differences(runs: Sequence[Figures], ours: str = OURS) -> str:
    """Return paired differences in spike attainment and utility against every other policy."""
    policies = dict.fromkeys(run.policy for run in runs)
    if ours not in policies:
        return ""
    lines = []
    for policy in policies:
        if policy == ours:
            continue
        parts = []
        for what in ("attainment", "utility"):
            mean, low, high = paired_difference(
                [float(getattr(run, what)) for run in _of(runs, ours)],
                [float(getattr(run, what)) for run in _of(runs, policy)],
            )
            parts.append(f"{what} {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"{ours} - {policy:14s} {'   '.join(parts)}")
    return "\n".join(lines)


def _of(runs: Sequence[Figures], policy: str) -> list[Figures]:
    return sorted((run for run in runs if run.policy == policy), key=lambda run: run.seed)


def summary(
    scenario: str, runs: Sequence[Figures], bounds: Sequence[Bound], split: Split | None
) -> dict[str, Any]:
    """Return what the tables are made of as JSON-ready data."""
    return {
        "scenario": scenario,
        "seeds": sorted({run.seed for run in runs}),
        "split": None if split is None else asdict(split),
        "bounds": [asdict(item) for item in bounds],
        "runs": [plain_figures(run) for run in runs],
    }


def summary_text(data: Mapping[str, Any]) -> str:
    """Return a summary as JSON with one run a line, so that a difference of two can be read."""
    head = {name: value for name, value in data.items() if name not in {"runs", "bounds"}}
    rows = [
        ",\n  ".join(json.dumps(item, allow_nan=False) for item in data[name]) for name in ("bounds", "runs")
    ]
    inner = json.dumps(head)[1:-1]
    return f'{{{inner},\n "bounds": [\n  {rows[0]}],\n "runs": [\n  {rows[1]}]}}\n'


def from_summary(data: Mapping[str, Any]) -> tuple[tuple[Figures, ...], tuple[Bound, ...]]:
    """Return the runs and bounds that `summary` wrote."""
    runs = tuple(figures_from_plain(run) for run in data["runs"])
    return runs, tuple(Bound(**item) for item in data["bounds"])


def plain(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return every score as JSON-ready data; never-reached times are null."""
    return [_finite(asdict(entry)) for entry in entries]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
