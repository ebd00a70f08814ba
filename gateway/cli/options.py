"""The options that many commands have, each described once."""

from __future__ import annotations

from typing import Annotated

import typer

Workspace = Annotated[
    str | None,
    typer.Option(
        help="Directory of policy.yml and lumyn.db; else LUMYN_STORAGE_URL and LUMYN_POLICY_PATH, "
        "else the configuration file, else .lumyn.",
        show_default=False,
    ),
]
Config = Annotated[
    str | None, typer.Option(help="YAML file; else LUMYN_CONFIG_PATH, else the defaults.", show_default=False)
]
Out = Annotated[str, typer.Option(help="Where to write; a hyphen is standard output.")]
Compact = Annotated[bool, typer.Option("--pretty/--compact", help="Indented, or all in one line.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, to paste into a ticket.")]
Since = Annotated[
    str | None,
    typer.Option(help="Only from then on: 2026-01-31, 2026-01-31T12:00:00Z, or an age such as 24h or 7d."),
]
PolicyPath = Annotated[
    str | None, typer.Option("--path", help="Policy file or built-in; else the configured one.")
]
DecisionId = Annotated[str, typer.Argument(help="The decision's id.", metavar="ID")]
