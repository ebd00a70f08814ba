"""The command `lumyn`: each command is a small file of its own; this one lists them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

import typer

from gateway.cli.lazy import LazyGroup


class Commands(LazyGroup):
    """Every command and where it is, in the order in which one meets them."""

    table: ClassVar[Mapping[str, str]] = {
        "init": "gateway.cli.init:init_command",
        "demo": "gateway.cli.demo:demo_command",
        "serve": "gateway.cli.serve:serve_command",
        "decide": "gateway.cli.decide:decide_command",
        "show": "gateway.cli.show:show_command",
        "explain": "gateway.cli.explain:explain_command",
        "label": "gateway.cli.label:label_command",
        "export": "gateway.cli.export:export_command",
        "replay": "gateway.cli.replay:replay_command",
        "records": "gateway.cli.records:app",
        "approvals": "gateway.cli.approvals:app",
        "policy": "gateway.cli.policy:app",
        "verify": "gateway.cli.verify:verify_command",
        "doctor": "gateway.cli.doctor:doctor_command",
        "mcp": "gateway.cli.mcp:app",
        "keys": "gateway.cli.keys:app",
        "evaluate": "controller.evaluate.command:evaluate",
        "loadtest": "loadtest.command:loadtest_command",
        "sim": "controller.llmd.sim.command:app",
        "completion": "gateway.cli.completion:completion_command",
        "version": "gateway.cli.version:version_command",
    }


app = typer.Typer(
    name="lumyn",
    cls=Commands,
    # Its options would load pydantic at every start: `lumyn completion` prints the script instead.
    add_completion="_LUMYN_COMPLETE" in os.environ,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def lumyn() -> None:
    """A gateway that records before it forwards: decisions for agents, a steady hand for LLM traffic."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 reported error, 2 wrong usage; see docs/cli.md."""
    app()
