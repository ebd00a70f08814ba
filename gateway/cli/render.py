"""How commands speak: tables and colours on a terminal, plain text elsewhere, one line for each error.

Every command imports this, so it must load nothing heavy: tables load their library when one is drawn.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import typer

from gateway.kernel.errors import GatewayError, SetupError

EXIT_REPORTED: Final = 1
"""The command reports an error: something asked for is not there, not valid, or not well."""
EXIT_SETUP: Final = 2
"""Wrong usage; and for `serve` a configuration, policy or store that it cannot start with."""

_COLOURS: Final = {
    "TRUST": typer.colors.GREEN,
    "ABSTAIN": typer.colors.RED,
    "ESCALATE": typer.colors.YELLOW,
    "QUERY": typer.colors.CYAN,
}


def fail(error: GatewayError, *, setup_code: int = EXIT_REPORTED) -> NoReturn:
    """Print the error and what to do next, and leave with its exit code."""
    typer.secho(f"error: {error.message}", err=True, fg=typer.colors.RED)
    if error.hint:
        typer.echo(f"hint: {error.hint}", err=True)
    raise typer.Exit(setup_code if isinstance(error, SetupError) else EXIT_REPORTED)


def refuse(message: str, *, hint: str = "") -> NoReturn:
    """Report an error that is no exception, and leave with exit code 1."""
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
    if hint:
        typer.echo(f"hint: {hint}", err=True)
    raise typer.Exit(EXIT_REPORTED)


def say(text: str = "") -> None:
    """Print a line."""
    typer.echo(text)


def say_facts(facts: Mapping[str, object]) -> None:
    """Print `name: value` lines."""
    for name, value in facts.items():
        typer.echo(f"{name}: {value}")


def verdict(name: str) -> str:
    """Return a verdict in its colour, which a pipe does not get."""
    return typer.style(name, fg=_COLOURS.get(name), bold=True)


def json_text(value: Any, *, pretty: bool) -> str:
    """Return JSON with sorted keys and a newline at its end."""
    import orjson

    option = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if pretty else 0)
    return orjson.dumps(value, option=option).decode()


def write_json(value: Any, out: str, *, pretty: bool) -> None:
    """Write JSON to a file, or to standard output where `out` is a hyphen."""
    text = json_text(value, pretty=pretty)
    if out == "-":
        typer.echo(text, nl=False)
    else:
        write_file(out, text.encode())


def write_file(path: str, data: bytes) -> None:
    """Write a file, or report why that does not go."""
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        refuse(f"cannot write {path}: {(error.strerror or type(error).__name__).lower()}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows: a drawn table on a terminal, tab-separated lines with a head elsewhere."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    Console(highlight=False).print(drawn)
