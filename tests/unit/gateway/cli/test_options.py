"""Options that many commands share are the same in each."""

from __future__ import annotations

import typer

from gateway.cli.main import app


def test_a_shared_option_means_one_thing() -> None:
    """Wherever --config, --json, --since and --markdown stand, their help is the same."""
    root = typer.main.get_command(app)
    helps: dict[str, set[str]] = {}
    pending = [root.get_command(None, name) for name in root.list_commands(None) if name != "sim"]
    while pending:
        command = pending.pop()
        if hasattr(command, "list_commands"):
            pending += [command.get_command(None, name) for name in command.list_commands(None)]
        for one in command.params:
            helps.setdefault(one.opts[0], set()).add(getattr(one, "help", "") or "")
    for name in ("--config", "--json", "--since", "--markdown"):
        assert len(helps[name]) == 1, name
