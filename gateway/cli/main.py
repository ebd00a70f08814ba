"""The command `lumyn`: each command is a small file of its own; this one lists them."""

from __future__ import annotations

import typer

from gateway.cli.serve import serve_command
from gateway.cli.version import version_command

app = typer.Typer(
    name="lumyn",
    help="A gateway that records before it forwards.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve_command)
app.command("version")(version_command)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 reported error, 2 wrong usage or set-up."""
    app()
