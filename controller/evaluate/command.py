"""`lumyn evaluate`, and `python -m controller.evaluate`: run, print tables, write JSON, plots and a page.

A composition root: the only file of the evaluation that prints and writes files.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer

from controller.evaluate.arms.pictures import draw as draw_arms
from controller.evaluate.arms.retold import comparison
from controller.evaluate.arms.sheet import PAGE, files
from controller.evaluate.arms.verdict import verdict
from controller.evaluate.bars import bar_lines, bars_of
from controller.evaluate.bound import Bound
from controller.evaluate.figures import Figures, figures_of
from controller.evaluate.matrix import Entry, run_bounds, run_matrix, search_split
from controller.evaluate.page import Picture, Section, page
from controller.evaluate.plots import draw
from controller.evaluate.report import differences, markdown, plain, summary, summary_text, table
from controller.evaluate.scenarios import ABLATIONS, MAIN_POLICIES, POLICIES, SCENARIOS
from controller.evaluate.searched import SEARCHED
from controller.evaluate.split import Split

SEEDS_MAX: Final = 1000
EXIT_USAGE: Final = 2
EXIT_FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Everything known of one scenario."""

    scenario: str
    entries: tuple[Entry, ...]
    runs: tuple[Figures, ...]
    bounds: tuple[Bound, ...]
    split: Split | None

    @property
    def title(self) -> str:
        """Return what was run, in a line."""
        seeds = sorted({run.seed for run in self.runs})
        return f"{self.scenario}: {SCENARIOS[self.scenario].about}; seeds {', '.join(map(str, seeds))}"


def evaluate(
    scenario: Annotated[
        str, typer.Option(help="One or more workloads, comma-separated, or `all`; `--list` names them.")
    ] = "spike4",
    policies: Annotated[str, typer.Option(help="`all`, `ablations`, or names, comma-separated.")] = "all",
    seeds: Annotated[
        str, typer.Option(help="Such as 11-15 or 11,14. Tuned on 1 to 3; report on others.")
    ] = "11-15",
    processes: Annotated[int, typer.Option(min=1, max=64, help="Runs at a time.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for JSON, Markdown, plots (PNG) and one HTML page."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Directory for the report that `lumyn loadtest` writes, of the first seed."),
    ] = None,
    *,
    bound: Annotated[
        bool,
        typer.Option("--bound", help="Solve the clairvoyant bound too; needs scipy, half a minute a seed."),
    ] = False,
    search: Annotated[
        bool, typer.Option("--search", help="Search the tuned split anew instead of taking the known one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    show_list: Annotated[
        bool, typer.Option("--list", help="List workloads and policies, run nothing.")
    ] = False,
) -> None:
    """Run the intent controller against baselines and a simulated llm-d in virtual time; print the table.

    The same scenario, policy and seed give the same decisions on any machine. A table of nine policies and
    five seeds takes about twenty seconds. --json prints the figures of every run instead.
    """
    if show_list:
        _say_names()
        return
    names, wanted, numbers = _scenarios(scenario), _policies(policies), _seeds(seeds)
    if bound and importlib.util.find_spec("scipy") is None:
        _stop("--bound needs scipy, which is not installed: pip install scipy", EXIT_FAILED)
    for directory in (out, report):
        if directory is not None:
            _make(directory)
    done: list[Evaluated] = []
    for name in names:
        found = _evaluate(
            name, wanted, numbers, processes, bound=bound, search=search, series=out is not None
        )
        done.append(found)
        if not as_json:
            _print(found)
    if as_json:
        texts = [summary_text(_summary(found)).rstrip("\n") for found in done]
        typer.echo(texts[0] if len(texts) == 1 else "[" + ",\n".join(texts) + "]")
    if out is not None:
        write(done, out)
    if report is not None:
        retell(names[0], wanted, numbers[0], done[0].split, report)


def retell(name: str, policies: tuple[str, ...], seed: int, split: Split | None, out: Path) -> None:
    """Write the report of one seed of one scenario, as a live run would have it."""
    run = comparison(SCENARIOS[name], policies, seed, split)
    pictures: tuple[Picture, ...] = draw_arms(run) if _can_draw() else ()
    for file, data in files(run, pictures).items():
        _write(out / file, data)
    typer.echo(f"{verdict(run).line}\nwrote {out / PAGE} and the files beside it", err=True)


def _evaluate(
    name: str,
    policies: tuple[str, ...],
    seeds: tuple[int, ...],
    processes: int,
    *,
    bound: bool,
    search: bool,
    series: bool,
) -> Evaluated:
    split = None
    if "tuned" in policies:
        known = None if search else SEARCHED.get(name)
        split = known or search_split(SCENARIOS[name], progress=_progress(f"{name}: searching the split"))
    entries = run_matrix(
        name, policies, seeds, processes=processes, split=split, series=series,
        progress=_progress(f"{name}: seeds run"),
    )  # fmt: skip
    bounds = (
        run_bounds(name, seeds, processes=processes, progress=_progress(f"{name}: bounds solved"))
        if bound
        else ()
    )
    return Evaluated(name, entries, tuple(map(figures_of, entries)), bounds, split)


def _print(found: Evaluated) -> None:
    typer.echo(f"\n{found.title}")
    typer.echo(table(found.runs, found.bounds))
    if bars := bars_of(found.scenario, found.runs, found.bounds):
        typer.echo(f"\n{bar_lines(bars)}")
    if len({run.seed for run in found.runs}) > 1 and (text := differences(found.runs)):
        typer.echo(f"\npaired differences, mean [95 % interval]\n{text}")
    for entry in found.entries:
        for change in entry.mode_changes:
            typer.echo(f"mode, {entry.policy}, seed {entry.seed}: {change}")


def write(done: Sequence[Evaluated], out: Path) -> None:
    """Write what was found into a directory; without matplotlib the page has no pictures, and says so."""
    sections: list[Section] = []
    for found in done:
        pictures = _pictures(found)
        for picture in pictures:
            _write(out / f"{picture.name}.png", picture.png)
        data = {**_summary(found), "entries": plain(found.entries)}
        _write(out / f"{found.scenario}.json", (json.dumps(data, allow_nan=False) + "\n").encode())
        _write(out / f"{found.scenario}.md", f"{markdown(found.runs, found.bounds)}\n".encode())
        sections.append(_section(found, pictures))
    lead = "Simulated llm-d under a virtual clock; docs/control.md says what each column means."
    _write(out / "report.html", page("Lumyn: the intent controller, evaluated", lead, sections).encode())
    typer.echo(f"wrote {out / 'report.html'} and the files beside it", err=True)


def _section(found: Evaluated, pictures: tuple[Picture, ...]) -> Section:
    digests = "\n".join(
        f"decisions of {run.policy}, seed {run.seed}: {run.decisions_digest}"
        for run in found.runs
        if run.decisions_digest
    )
    bars = bar_lines(bars_of(found.scenario, found.runs, found.bounds))
    printed = (table(found.runs, found.bounds), bars, differences(found.runs), digests)
    return Section(found.title, printed="\n\n".join(text for text in printed if text), pictures=pictures)


def _pictures(found: Evaluated) -> tuple[Picture, ...]:
    if not _can_draw():
        return ()
    return draw(found.scenario, found.entries, found.runs, found.bounds)


def _can_draw() -> bool:
    if importlib.util.find_spec("matplotlib") is None:
        typer.echo("no plots: matplotlib is not installed; pip install 'lumyn-gateway[loadtest]'", err=True)
        return False
    return True


def _summary(found: Evaluated) -> dict[str, Any]:
    return summary(found.scenario, found.runs, found.bounds, found.split)


def _progress(what: str) -> Any:
    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            typer.echo(f"\r{what}: {done} of {total}  ", err=True, nl=done >= total)

    return show


def _scenarios(text: str) -> tuple[str, ...]:
    names = tuple(SCENARIOS) if text == "all" else tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in SCENARIOS:
            _stop(f"no scenario {name!r}; known: {', '.join(SCENARIOS)}", EXIT_USAGE)
    return names


def _policies(text: str) -> tuple[str, ...]:
    if text == "all":
        return MAIN_POLICIES
    if text == "ablations":
        return ("none", "controlled", *ABLATIONS)
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in POLICIES:
            _stop(f"no policy {name!r}; known: {', '.join(POLICIES)}", EXIT_USAGE)
    return names


def _seeds(text: str) -> tuple[int, ...]:
    seeds: list[int] = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()) or len(low) > 9 or len(high) > 9:
            _stop(f"--seeds is {text!r}: give whole numbers, such as 11-15 or 11,14", EXIT_USAGE)
        span = range(int(low), int(high or low) + 1)
        if not 0 < len(span) <= SEEDS_MAX - len(seeds):
            _stop(f"--seeds is {text!r}: give 1 to {SEEDS_MAX} seeds, the lower end first", EXIT_USAGE)
        seeds += span
    return tuple(dict.fromkeys(seeds))


def _say_names() -> None:
    for scenario in SCENARIOS.values():
        typer.echo(f"{scenario.name:12s} {scenario.about}")
    typer.echo(f"\npolicies: {', '.join(POLICIES)}")


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _stop(f"cannot make {out}: {error.strerror}", EXIT_FAILED)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        _stop(f"cannot write {path}: {error.strerror}", EXIT_FAILED)


def _stop(message: str, status: int) -> NoReturn:
    typer.echo(f"lumyn evaluate: {message}", err=True)
    raise typer.Exit(status)
