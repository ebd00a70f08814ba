"""`lumyn export`: a record as JSON, or a decision pack that can be checked anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.render import fail, refuse, say, write_file, write_json
from gateway.cli.stored import stored_record
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk


def export_command(
    decision_id: options.DecisionId,
    out: options.Out = "-",
    *,
    pack: Annotated[
        bool, typer.Option("--pack", help="A zip file with record, policy, memory and proof.")
    ] = False,
    pretty: options.Compact = True,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Write a record as JSON, or with --pack (or an --out that ends in .zip) a decision pack."""
    if not pack and not out.endswith(".zip"):
        write_json(stored_record(decision_id, workspace, config), out, pretty=pretty)
        return
    if out == "-":
        refuse("decision pack export requires a file path (not stdout)", hint="name it with --out FILE.zip")
    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)

    async def work(desk: Desk, _: LumynConfig) -> bytes:
        return await desk.pack(decision_id)

    write_file(out, use_desk(settings, work))
    say(out)
