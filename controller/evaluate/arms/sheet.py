"""A comparison as a page that opens offline, and as JSON. Makes text from values, runs nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from controller.evaluate.arms.data import Arm, Comparison
from controller.evaluate.arms.figures import causes, figures, lag_p99_s
from controller.evaluate.arms.verdict import Verdict, verdict
from controller.evaluate.arms.words import generator, results, timeline_text, tools
from controller.evaluate.page import Picture, Section, Table, page

_HOW: Final = {
    "live": "Measured over sockets: a real gateway, its ledger, its controller.",
    "virtual": "Computed in virtual time: the same controller and the same simulated cluster, no sockets.",
}


PAGE: Final = "report.html"
FIGURES: Final = "report.json"


def files(run: Comparison, pictures: Sequence[Picture]) -> dict[str, bytes]:
    """Return everything that a run leaves to look at: the page, its plots and its figures, by file name."""
    found = {f"{picture.name}.png": picture.png for picture in pictures}
    found[FIGURES] = (json.dumps(plain(run), indent=1, allow_nan=False) + "\n").encode()
    found[PAGE] = report(run, pictures).encode()
    return found


def report(run: Comparison, pictures: Sequence[Picture]) -> str:
    """Return the page."""
    found = verdict(run)
    return page(run.title, _HOW[run.how], _sections(run, found, pictures))


def _sections(run: Comparison, found: Verdict, pictures: Sequence[Picture]) -> Iterator[Section]:
    yield Section(
        "Verdict",
        paragraphs=(found.line,),
        table=Table(
            ("check", "wanted", "found", ""),
            tuple(
                (check.name, check.wanted, check.found, "held" if check.ok else "MISSED")
                for check in found.checks
            ),
        ),
    )
    yield Section("The run", table=Table(("what", ""), tuple(run.facts.items())))
    about = tuple(f"{arm.name}: {arm.about}" for arm in run.arms if arm.about)
    yield Section("What came of it", paragraphs=about, table=results(run))
    if pictures:
        yield Section("Over time", pictures=tuple(pictures))
    for arm in run.arms:
        if text := timeline_text(arm):
            yield Section(f"Decisions in words: {arm.name}", printed=text)
    if any(arm.called for arm in run.arms):
        about_tools = (
            "An agent asks before it acts; latency is from the instant at which the question was due."
        )
        yield Section("Tool actions", paragraphs=(about_tools,), table=tools(run))
    if run.how == "live":
        yield Section(
            "The generator itself",
            paragraphs=("It sends by its schedule whatever the answers do, and says how late it was.",),
            table=generator(run),
        )


def plain(run: Comparison) -> dict[str, Any]:
    """Return the whole comparison as JSON-ready data; what never happened is null."""
    found = verdict(run)
    data = {
        "title": run.title,
        "how": run.how,
        "verdict": {"word": found.word, "line": found.line, "checks": list(map(asdict, found.checks))},
        "facts": dict(run.facts),
        "spans": asdict(run.spans),
        "services": list(map(asdict, run.services)),
        "usd_per_hour_allowed": run.usd_per_hour,
        "arms": [_arm(run, arm) for arm in run.arms],
    }
    return {name: _finite(value) for name, value in data.items()}


def _arm(run: Comparison, arm: Arm) -> dict[str, Any]:
    return {
        "name": arm.name,
        "about": arm.about,
        "began": arm.began,
        "partial": arm.partial,
        "windows": {name: asdict(figures(arm, run.spans, name)) for name in run.spans.windows()},
        "causes": causes(arm),
        "lag_p99_s": lag_p99_s(arm),
        "chunks": list(arm.chunks),
        "moments": list(map(asdict, arm.moments)),
        "told": list(map(asdict, arm.told)),
        "called": len(arm.called),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
