"""The bars of a comparison, and the one line that says whether they were met. Runs nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.evaluate.arms.data import Arm, Check, Comparison, within
from controller.evaluate.arms.figures import attainment, figures, lag_p99_s

OURS: Final = "controlled"
BASELINE: Final = "none"
TOP: Final = "premium"
ATTAINED_MIN: Final = 0.95
BASELINE_MAX: Final = 0.5
ENOUGH: Final = 20
"""Of fewer requests a single miss is below 95 %: too few to say."""
LAG_MAX_S: Final = 0.05
"""A generator that sends later than this measures itself (`reference/control.md` 4.1)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison."""

    word: str
    """`PASS`, `FAIL` or `PARTIAL`."""
    line: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Tell whether the run is whole and every bar was met."""
        return self.word == "PASS"


def verdict(run: Comparison) -> Verdict:
    """Return the verdict of a run; a run that is not whole has none but `PARTIAL`."""
    checks = (*_bars(run), *run.checks)
    partial = run.partial or next((arm.partial for arm in run.arms if arm.partial), "")
    missed = [check for check in checks if not check.ok]
    if partial:
        return Verdict("PARTIAL", f"PARTIAL: {partial}; what is here was measured, the rest was not", checks)
    if missed:
        what = "; ".join(f"{check.name} is {check.found}, wanted {check.wanted}" for check in missed)
        return Verdict("FAIL", f"FAIL: {what}", checks)
    return Verdict("PASS", f"PASS: {_story(run)}", checks)


def _bars(run: Comparison) -> Iterator[Check]:
    ours, baseline = run.arm(OURS), run.arm(BASELINE)
    if ours is not None and ours.offered:
        yield from _promises(run, ours)
    if baseline is not None and baseline.offered and run.baseline_max is not None:
        found = attainment(baseline.offered)
        wanted = f"< {run.baseline_max:g}"
        yield Check(f"{BASELINE} attainment", wanted, f"{found:.3f}", found < run.baseline_max)
    if run.how == "live":
        for arm in run.arms:
            yield from _generator(arm, run.chunks_max)


def _promises(run: Comparison, arm: Arm) -> Iterator[Check]:
    for window in ("all", "spike"):
        found = figures(arm, run.spans, window)
        where = "" if window == "all" else " in the spike"
        shares = {"": found.attainment}
        if sum(one.service == TOP for one in within(arm.offered, run.spans.windows()[window])) >= ENOUGH:
            shares[f" {TOP}"] = found.by_service[TOP]
        for who, share in shares.items():
            name = f"{OURS}{who} attainment{where}"
            yield Check(name, f">= {ATTAINED_MIN}", f"{share:.3f}", share >= ATTAINED_MIN)
    if run.usd_per_hour is not None:
        spent = figures(arm, run.spans).usd_per_hour
        wanted = f"<= ${run.usd_per_hour:.2f} an hour"
        yield Check(f"{OURS} cost", wanted, f"${spent:.2f} an hour", spent <= run.usd_per_hour)


def _generator(arm: Arm, chunks_max: int | None) -> Iterator[Check]:
    lag_s = lag_p99_s(arm)
    wanted = f"< {LAG_MAX_S * 1000:.0f} ms"
    yield Check(f"{arm.name}: schedule lag p99", wanted, f"{lag_s * 1000:.1f} ms", lag_s < LAG_MAX_S)
    if chunks_max is not None:
        peak = max(arm.chunks, default=0)
        yield Check(f"{arm.name}: chunks a second", f"< {chunks_max}", str(peak), peak < chunks_max)


def _story(run: Comparison) -> str:
    parts: list[str] = []
    ours, baseline = run.arm(OURS), run.arm(BASELINE)
    if ours is not None:
        found = figures(ours, run.spans)
        premium = f" ({TOP} {found.by_service[TOP]:.3f})" if TOP in found.by_service else ""
        against = (
            "" if baseline is None else f" where the baseline fell to {attainment(baseline.offered):.3f}"
        )
        parts.append(f"{found.attainment:.3f} of the requests met their targets{premium}{against}")
        if run.usd_per_hour is not None and math.isfinite(found.usd_per_hour):
            parts.append(f"${found.usd_per_hour:.2f} an hour of ${run.usd_per_hour:.2f} allowed")
    if not parts:
        parts += [f"{arm.name} attained {attainment(arm.offered):.3f}" for arm in run.arms]
    if run.checks:
        parts.append(f"{len(run.checks)} further checks held")
    return "; ".join(parts)
