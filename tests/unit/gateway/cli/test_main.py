"""The command: its list of commands, its help, and what it says to wrong usage."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from gateway.cli.main import Commands, app

RUN = CliRunner()


def test_help_lists_every_command() -> None:
    """`lumyn --help` names each command with what it does."""
    done = RUN.invoke(app, ["--help"])
    assert done.exit_code == 0
    for name in Commands.table:
        assert f"\n  {name} " in done.output or f" {name} " in done.output, name


@pytest.mark.parametrize("name", Commands.table)
def test_every_command_can_be_found(name: str) -> None:
    """Each place in the table is a command with a help of its own."""
    done = RUN.invoke(app, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert "Usage" in done.output


@pytest.mark.parametrize("arguments", [["nothing"], ["serve", "--colour"], ["serve", "--port", "x"]])
def test_wrong_usage_is_exit_two(arguments: list[str]) -> None:
    """A command or flag that is not there is wrong usage."""
    assert RUN.invoke(app, arguments).exit_code == 2


def test_no_command_shows_the_help() -> None:
    """`lumyn` alone says what there is."""
    assert "serve" in RUN.invoke(app, []).output
