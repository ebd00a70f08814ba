"""Writes `docs/cli.md` from the commands themselves, so that the page cannot say anything else.

    python -m gateway.cli.manual > docs/cli.md

A test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import typer

_HEAD: Final = """# The command line

Written by `python -m gateway.cli.manual`; a test holds it against the commands.

**Where commands look.** Flags win over `LUMYN_*` variables, those over the configuration file (`--config`,
else `LUMYN_CONFIG_PATH`), that over the defaults. A workspace is a directory, `.lumyn` where nothing else is
said, with `policy.yml` and `lumyn.db`; `--workspace` names another one. `init`, `decide`, `demo` and
`doctor --fix` make a workspace where there is none; commands that only read never do.

**Exit codes.** 0: done, whatever the verdict. 1: the command reports an error in one line on standard error,
with a hint what to do: something is not there, not valid or not well (`verify`, `replay`, `doctor`,
`policy validate|lint|test` answer so). 2: wrong usage; and for `serve` a configuration, policy or store that
it cannot start with. `loadtest` has two more: 3, it ran and a bar was missed; 4, it was ended early.

**Output.** Tables and colours on a terminal, plain lines and tabs in a pipe. JSON has sorted keys and ends
with a newline. Records go to standard output, errors and progress to standard error.
"""


def manual() -> str:
    """Return the page."""
    from gateway.cli.main import app

    root: Any = typer.main.get_command(app)
    return "\n".join([_HEAD, *_group(root, "lumyn")])


def _group(group: Any, path: str) -> Iterator[str]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from _group(command, f"{path} {name}")
        else:
            yield from _command(command, f"{path} {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    parameters = [one for one in command.params if "--help" not in one.opts]
    words = [_usage(one) for one in parameters if one.param_type_name == "argument"]
    options = [one for one in parameters if one.param_type_name == "option"]
    yield f"## `{' '.join([path, *words])}`"
    yield ""
    yield " ".join((command.help or "").split())
    yield ""
    for one in parameters:
        if one.param_type_name == "argument" and getattr(one, "help", None):
            yield f"- `{_usage(one)}` {one.help}"
    for one in options:
        yield f"- {_option(one)}"
    if parameters:
        yield ""


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).strip("[]")
    name = f"{name}..." if argument.nargs == -1 else name
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = option.default
    shown = not option.is_flag and isinstance(default, str | int | float) and default != ""
    text = f"{names} {option.help or ''}".rstrip()
    if option.required:
        text += " Required."
    return f"{text} Default: `{default}`." if shown else text


if __name__ == "__main__":
    typer.echo(manual(), nl=False)
