"""`lumyn completion`: the script that teaches a shell our commands."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.render import say

SHELLS = ("bash", "zsh", "fish")


def completion_command(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", metavar="SHELL")],
) -> None:
    """Print a completion script: `lumyn completion bash >> ~/.bashrc`, or into zsh's or fish's directory."""
    from typer._completion_shared import get_completion_script  # its public door is an option of the root

    if shell not in SHELLS:
        raise typer.BadParameter(f"no script for {shell!r}; there are {', '.join(SHELLS)}")
    say(get_completion_script(prog_name="lumyn", complete_var="_LUMYN_COMPLETE", shell=shell))
