"""How commands speak: colours and tables on a terminal, plain text elsewhere, one line for each error."""

from __future__ import annotations

from typing import Final, NoReturn

import typer
from rich.console import Console

from gateway.kernel.errors import GatewayError, SetupError

OUT: Final = Console(highlight=False)
ERR: Final = Console(stderr=True, highlight=False)

EXIT_REPORTED: Final = 1
"""The command ran and reports an error."""
EXIT_SETUP: Final = 2
"""Wrong usage, configuration, policy or storage: nothing ran."""

VERDICT_STYLES: Final = {"TRUST": "green", "ABSTAIN": "red", "ESCALATE": "yellow", "QUERY": "cyan"}


def fail(error: GatewayError) -> NoReturn:
    """Print the error and what to do next, and leave with its exit code."""
    ERR.print(f"error: {error.message}", style="red", markup=False)
    if error.hint:
        ERR.print(f"hint: {error.hint}", markup=False)
    raise typer.Exit(EXIT_SETUP if isinstance(error, SetupError) else EXIT_REPORTED)
