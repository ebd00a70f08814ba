"""`lumyn evaluate`: a table, JSON, a directory of files; wrong words end with one line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from controller.evaluate import command, matrix
from controller.evaluate.scenarios import SCENARIOS

TINY = replace(SCENARIOS["base"], name="tiny", about="a short one", end_s=105.0)


@pytest.fixture
def lumyn_evaluate(monkeypatch: pytest.MonkeyPatch):
    """The command, with one short workload beside the others."""
    known = {"tiny": TINY, **SCENARIOS}
    monkeypatch.setattr(matrix, "SCENARIOS", known)
    monkeypatch.setattr(command, "SCENARIOS", known)
    app = typer.Typer()
    app.command()(command.evaluate)

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["--processes", "1", *words])

    return run


def test_it_prints_the_table(lumyn_evaluate) -> None:
    """One line a policy, in the order asked for, and paired differences with more than one seed."""
    done = lumyn_evaluate("--scenario", "tiny", "--policies", "none,controlled", "--seeds", "1-2")
    assert done.exit_code == 0
    assert "tiny: a short one; seeds 1, 2" in done.stdout
    assert re.search(r"^none .*\ncontrolled ", done.stdout, flags=re.MULTILINE)
    assert "controlled - none" in done.stdout


def test_figures_as_json(lumyn_evaluate) -> None:
    """One document for one scenario, a list for several; nothing else on standard output."""
    done = lumyn_evaluate("--scenario", "tiny", "--policies", "none", "--seeds", "3", "--json")
    one = json.JSONDecoder().decode(done.stdout)
    assert [(run["policy"], run["seed"]) for run in one["runs"]] == [("none", 3)]


def test_files_of_a_directory(lumyn_evaluate, tmp_path: Path) -> None:
    """JSON with every score, the Markdown table, pictures, and one page that holds them all."""
    out = tmp_path / "a/b"
    done = lumyn_evaluate(
        "--scenario", "tiny", "--policies", "none,controlled", "--seeds", "1", "--out", str(out)
    )
    assert done.exit_code == 0
    data = json.JSONDecoder().decode((out / "tiny.json").read_text())
    assert set(data["entries"][0]["score"]["windows"]) == {"before", "spike", "after", "all"}
    assert (out / "tiny.md").read_text().startswith("| policy | attainment |")
    page = (out / "report.html").read_text()
    assert data["runs"][1]["decisions_digest"] in page
    assert page.count("data:image/png") == len(list(out.glob("*.png"))) == 6


def test_without_matplotlib_the_rest_is_written(
    lumyn_evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear line, a page without pictures, and status 0."""
    monkeypatch.setattr(
        command.importlib.util, "find_spec", lambda name: None if name == "matplotlib" else object()
    )
    done = lumyn_evaluate("--scenario", "tiny", "--policies", "none", "--seeds", "1", "--out", str(tmp_path))
    assert done.exit_code == 0
    assert "no plots: matplotlib is not installed; pip install 'lumyn-gateway[loadtest]'" in done.stderr
    assert "data:image" not in (tmp_path / "report.html").read_text()


def test_the_bound_needs_scipy(lumyn_evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is run."""
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    done = lumyn_evaluate("--scenario", "tiny", "--bound")
    assert done.exit_code == 1
    assert "scipy" in done.stderr


def test_names_can_be_listed(lumyn_evaluate) -> None:
    """Every workload with a line about it, and every policy."""
    told = lumyn_evaluate("--list").stdout
    assert all(f"{name} " in told for name in SCENARIOS)
    assert "controlled" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--scenario", "spike5"), "no scenario 'spike5'; known: "),
        (("--policies", "best"), "no policy 'best'; known: none, "),
        (("--seeds", "x"), "--seeds is 'x'"),
        (("--seeds", "5-1"), "the lower end first"),
        (("--seeds", "1-1001"), "1 to 1000 seeds"),
        (("--seeds", "1-"), "whole numbers"),
    ],
)
def test_wrong_words_end_with_a_line_and_status_2(lumyn_evaluate, words: tuple[str, ...], told: str) -> None:
    """The line names what is wrong and what there is."""
    done = lumyn_evaluate(*words)
    assert done.exit_code == 2
    assert done.stderr.startswith("lumyn evaluate: ")
    assert told in done.stderr


def test_a_directory_that_cannot_be_made_is_told_first(lumyn_evaluate, tmp_path: Path) -> None:
    """Before anything is run, with status 1."""
    (tmp_path / "file").write_text("")
    done = lumyn_evaluate("--scenario", "tiny", "--out", str(tmp_path / "file/dir"))
    assert done.exit_code == 1
    assert "cannot make" in done.stderr


def test_every_option_is_documented() -> None:
    """No option without help."""
    app = typer.Typer()
    app.command()(command.evaluate)
    assert all(getattr(option, "help", "") for option in typer.main.get_command(app).params)
