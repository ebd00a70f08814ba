"""`controller.evaluate.report`: tables and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from controller.evaluate.bound import Bound
from controller.evaluate.matrix import Entry
from controller.evaluate.report import (
    differences,
    from_summary,
    markdown,
    mean_bound,
    plain,
    summary,
    summary_text,
    table,
)
from controller.evaluate.run import Result
from controller.evaluate.score import score
from controller.evaluate.split import Split
from tests.unit.controller.evaluate.test_figures import run

RUNS = [run("none", 1), run("controlled", 1), run("none", 2), run("controlled", 2)]


def test_a_table_has_a_line_per_policy_and_the_bound() -> None:
    """Policies in order of appearance, means over seeds, then the bound."""
    lines = table(RUNS, (Bound(0.9, 0.8, 10),)).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["none", "controlled", "bound"]
    assert "never" in table([run(recovery_s=math.inf)])


def test_differences_are_paired_by_seed() -> None:
    """Ours less theirs, whatever the order; none where ours was not run."""
    runs = [run(seed=2, attainment=0.9), run("none", 1, attainment=0.2), run(seed=1, attainment=0.7)]
    text = differences([*runs, run("none", 2, attainment=0.4)])
    assert text.startswith("controlled - none")
    assert "attainment +0.500 [+0.500, +0.500]" in text
    assert differences([run("none", 1)]) == ""


def test_markdown_is_the_table_of_the_page() -> None:
    """Ours in bold, three digits, the worst seed in brackets, the bound under utility."""
    runs = [run(seed=1, attainment=0.5, premium=0.25), run(seed=2, attainment=0.7, premium=0.75)]
    lines = markdown(runs, (Bound(0.9, 0.8, 1),)).splitlines()
    assert lines[2].startswith("| **controlled** | 0.600 (0.500) | 0.500 (0.250) | ")
    assert lines[3:] == [
        "| clairvoyant bound | | | | 0.900 | | | |",
        "| at 85 % of the capacity | | | | 0.800 | | | |",
    ]


def test_a_summary_comes_back() -> None:
    """Through its own text: one run a line, bounds and split with it."""
    split = Split({"premium": (1.0,)}, 70)
    bounds = (Bound(0.9, 0.8, 3), Bound(0.7, 0.6, 4))
    text = summary_text(summary("spike4", RUNS, bounds, split))
    data = json.JSONDecoder().decode(text)
    assert (data["scenario"], data["seeds"], data["split"]["large_limit"]) == ("spike4", [1, 2], 70)
    assert sum('"policy"' in line for line in text.splitlines()) == len(RUNS)
    back, limits = from_summary(data)
    assert markdown(back, limits) == markdown(RUNS, bounds)
    assert mean_bound(limits) == (0.8, 0.7)


def test_json_holds_no_infinity() -> None:
    """What never happened is null."""
    entry = Entry("s", "none", 1, score(Result("s", 1, "none", [])))
    never = replace(entry, score=replace(entry.score, settling_s=math.inf))
    text = json.dumps(plain([never]), allow_nan=False)
    assert '"settling_s": null' in text
