"""How commands speak."""

from __future__ import annotations

import re
import sys

import pytest
import typer

from gateway.cli import render
from gateway.kernel.errors import InvalidConfigError, NotFoundError


def test_an_error_is_one_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    """The message and what to do next go to standard error, and the exit code is 1."""
    with pytest.raises(typer.Exit) as caught:
        render.fail(NotFoundError("not here", hint="look there"))
    assert caught.value.exit_code == 1
    assert capsys.readouterr().err == "error: not here\nhint: look there\n"


def test_a_set_up_error_is_1_for_commands_and_2_for_serve() -> None:
    """Only who refuses to start ends with 2."""
    for code in (1, 2):
        with pytest.raises(typer.Exit) as caught:
            render.fail(InvalidConfigError("wrong"), setup_code=code)
        assert caught.value.exit_code == code


def test_json_is_sorted_and_ends_with_a_newline() -> None:
    """In one line or indented, keys stand in order."""
    assert render.json_text({"b": 1, "a": "é"}, pretty=False) == '{"a":"é","b":1}\n'
    assert render.json_text({"b": 1, "a": 2}, pretty=True) == '{\n  "a": 2,\n  "b": 1\n}\n'


def test_a_table_is_tabs_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than on a terminal a row is a line with tabs."""
    render.table(("a", "b"), [("1", "2")])
    assert capsys.readouterr().out == "a\tb\n1\t2\n"


def test_a_table_is_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal columns are lined up, and what looks like markup stays text."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    render.table(("verdict", "note"), [("TRUST", "[bold]x[/bold]")])
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert [line.split() for line in out.splitlines()] == [["verdict", "note"], ["TRUST", "[bold]x[/bold]"]]


def test_a_place_that_cannot_be_written_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A file in no directory ends with 1 and says why."""
    with pytest.raises(typer.Exit):
        render.write_file("no/such/place", b"")
    assert capsys.readouterr().err == "error: cannot write no/such/place: no such file or directory\n"
