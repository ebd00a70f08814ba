"""How commands speak: facts, errors with what to do next, tables for people and for pipes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import typer

from gateway.cli import render
from gateway.kernel.errors import InvalidConfigError, NotFoundError


def test_an_error_and_its_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for the error, one for what to do next, on standard error; exit code 1."""
    with pytest.raises(typer.Exit) as caught:
        render.fail(NotFoundError("decision not found", hint="run `lumyn records list`"))
    assert caught.value.exit_code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: decision not found\nhint: run `lumyn records list`\n"


def test_a_set_up_error_has_the_code_of_its_command() -> None:
    """`serve` leaves with 2 where it cannot start, other commands with 1."""
    for given, code in (({}, 1), ({"setup_code": 2}, 2)):
        with pytest.raises(typer.Exit) as caught:
            render.fail(InvalidConfigError("wrong"), **given)
        assert caught.value.exit_code == code
    with pytest.raises(typer.Exit) as caught:
        render.fail(NotFoundError("none"), setup_code=2)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("hint", "lines"), [("", 1), ("mend it", 2)])
def test_refusing(hint: str, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    """An error that is no exception is told alike."""
    with pytest.raises(typer.Exit):
        render.refuse("no such label", hint=hint)
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_facts_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """`name: value`, one a line; brackets are text and no markup."""
    render.say("[bold]x")
    render.say()
    render.say_facts({"a": 1, "b": "[red]"})
    assert capsys.readouterr().out == "[bold]x\n\na: 1\nb: [red]\n"


def test_json_is_sorted_and_ends_in_a_newline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On one line or drawn out, to a file or to standard output."""
    assert render.json_text({"b": 1, "a": "é"}, pretty=False) == '{"a":"é","b":1}\n'
    assert render.json_text({"a": 1}, pretty=True) == '{\n  "a": 1\n}\n'
    render.write_json([1], "-", pretty=False)
    assert capsys.readouterr().out == "[1]\n"
    render.write_json([1], str(tmp_path / "x"), pretty=False)
    assert (tmp_path / "x").read_text() == "[1]\n"


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with the system's reason."""
    with pytest.raises(typer.Exit):
        render.write_file(str(tmp_path), b"")
    assert "is a directory" in capsys.readouterr().err


def test_a_pipe_gets_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal a table is what `cut` reads."""
    render.table(("id", "verdict"), [("1", "TRUST")])
    assert capsys.readouterr().out == "id\tverdict\n1\tTRUST\n"


def test_a_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are aligned, and a cell that looks like markup stays as it is."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", "80")
    render.table(("id", "verdict"), [("[red]", "TRUST")])
    assert "[red]" in out.getvalue()
    assert "TRUST" in out.getvalue()


def test_a_verdict_has_its_colour() -> None:
    """Each of the four differs; a word that is none is only bold."""
    styled = {name: render.verdict(name) for name in ("TRUST", "ABSTAIN", "ESCALATE", "QUERY", "OTHER")}
    assert all(name in text for name, text in styled.items())
    assert len({text.replace(name, "") for name, text in styled.items()}) == 5
