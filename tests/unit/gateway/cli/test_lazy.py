"""Commands that are imported when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

import typer
from typer.testing import CliRunner

from gateway.cli.lazy import LazyGroup


class Few(LazyGroup):
    """A function, a group, and a module that is not there."""

    table: ClassVar[Mapping[str, str]] = {
        "version": "gateway.cli.version:version_command",
        "keys": "gateway.cli.keys:app",
        "broken": "gateway.cli.not_there:command",
    }


app = typer.Typer(cls=Few, add_completion=False, rich_markup_mode=None)


@app.callback()
def few() -> None:
    """Few commands."""


def test_functions_and_groups_are_mounted_alike() -> None:
    """A function becomes a command, a Typer a group; an unknown name is wrong usage."""
    runner = CliRunner()
    assert runner.invoke(app, ["version"]).exit_code == 0
    assert "hash: sha256:" in runner.invoke(app, ["keys", "new"]).stdout
    assert runner.invoke(app, ["nothing"]).exit_code == 2


def test_a_module_is_imported_only_for_its_own_command() -> None:
    """A module that cannot be imported troubles nobody who does not ask for its command."""
    assert CliRunner().invoke(app, ["version"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, ["broken"]).exception, ModuleNotFoundError)
    assert "gateway.cli.not_there" not in sys.modules
