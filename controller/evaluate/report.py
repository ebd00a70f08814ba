"""Tables and JSON of an evaluation. Makes text from scores; runs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from controller.evaluate.bound import Bound
from controller.evaluate.matrix import Entry, paired_difference


def table(entries: Sequence[Entry], bounds: Sequence[Bound] = ()) -> str:
    """Return the table of a scenario: one line per policy, mean over seeds, and the worst seed."""
    head = (
        "policy         attainment (worst)  premium (worst)  before  after  utility  quality   shed  "
        "$/h    settle  revers  recover"
    )
    names = dict.fromkeys(entry.policy for entry in entries)
    rows = [_line(name, [entry for entry in entries if entry.policy == name]) for name in names]
    lines = [head, "-" * len(head), *rows]
    if bounds:
        utility = sum(item.utility for item in bounds) / len(bounds)
        practical = sum(item.practical for item in bounds) / len(bounds)
        lines.append(f"{'bound':14s} utility {utility:.3f}; with 85 % of the capacity {practical:.3f}")
    return "\n".join(lines)


def _line(policy: str, mine: Sequence[Entry]) -> str:
    def mean(pick: Callable[[Entry], float]) -> float:
        values = [pick(entry) for entry in mine]
        return sum(values) / len(values)

    def spike(entry: Entry, what: str) -> float:
        return float(getattr(entry.score.windows["spike"], what))

    attained = [spike(entry, "attainment") for entry in mine]
    premium = [entry.score.windows["spike"].by_class.get("premium", math.nan) for entry in mine]
    return (
        f"{policy:14s} {mean(lambda e: spike(e, 'attainment')):6.3f} ({min(attained):.3f})     "
        f"{sum(premium) / len(premium):.3f} ({min(premium):.3f})    "
        f"{mean(lambda e: e.score.windows['before'].attainment):.3f}  "
        f"{mean(lambda e: e.score.windows['after'].attainment):.3f}  "
        f"{mean(lambda e: spike(e, 'utility')):.3f}    {mean(lambda e: spike(e, 'quality')):.3f}    "
        f"{mean(lambda e: spike(e, 'shed')):.3f}  {mean(lambda e: spike(e, 'usd_per_hour')):5.1f}  "
        f"{_seconds(max(e.score.settling_s for e in mine))}  "
        f"{max(e.score.reversals_per_minute for e in mine):5.1f}  "
        f"{_seconds(max(e.score.recovery_s for e in mine))}"
    )


def _seconds(value: float) -> str:
    return "  never" if math.isinf(value) else f"{value:5.0f} s"


def differences(entries: Sequence[Entry], ours: str = "controlled") -> str:
    """Return paired differences in spike attainment and utility against every other policy."""
    lines = []
    for policy in dict.fromkeys(entry.policy for entry in entries):
        if policy == ours or ours not in {entry.policy for entry in entries}:
            continue
        parts = []
        for what in ("attainment", "utility"):
            mean, low, high = paired_difference(
                [float(getattr(e.score.windows["spike"], what)) for e in _of(entries, ours)],
                [float(getattr(e.score.windows["spike"], what)) for e in _of(entries, policy)],
            )
            parts.append(f"{what} {mean:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines.append(f"{ours} - {policy:14s} {'   '.join(parts)}")
    return "\n".join(lines)


def _of(entries: Sequence[Entry], policy: str) -> list[Entry]:
    return sorted((entry for entry in entries if entry.policy == policy), key=lambda entry: entry.seed)


def plain(entries: Sequence[Entry], bounds: Sequence[Bound], seeds: Sequence[int]) -> dict[str, Any]:
    """Return the whole evaluation as JSON-ready data; never-reached times are null."""
    return {
        "seeds": list(seeds),
        "entries": [_finite(asdict(entry)) for entry in entries],
        "bounds": [asdict(item) for item in bounds],
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
