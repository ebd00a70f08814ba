"""`lumyn show`: print a stored record."""

from __future__ import annotations

from gateway.cli import options
from gateway.cli.render import write_json
from gateway.cli.stored import stored_record


def show_command(
    decision_id: options.DecisionId,
    out: options.Out = "-",
    *,
    pretty: options.Compact = True,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Print a Decision Record with its events."""
    write_json(stored_record(decision_id, workspace, config), out, pretty=pretty)
