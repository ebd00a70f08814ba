"""`lumyn label`: say how a decision turned out, so that later ones learn of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.render import fail, say_facts, write_json
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.kernel.types import JSONObject
    from gateway.pipeline.kept import Appended


def label_command(
    decision_id: options.DecisionId,
    label: Annotated[str | None, typer.Option(help="failure, success or near_miss.")] = None,
    summary: Annotated[
        str | None, typer.Option("--summary", "--note", help="One sentence; else made from the request.")
    ] = None,
    *,
    failure: Annotated[bool, typer.Option("--failure", help="The same as --label failure.")] = False,
    success: Annotated[bool, typer.Option("--success", help="The same as --label success.")] = False,
    near_miss: Annotated[bool, typer.Option("--near-miss", help="The same as --label near_miss.")] = False,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Label a decision: a later request that resembles a failure is escalated because of it."""
    flags = {"failure": failure, "success": success, "near_miss": near_miss}
    named = [name for name, given in flags.items() if given] + ([] if label is None else [label])
    if len(named) != 1:
        raise typer.BadParameter("give one label: --label NAME, --failure, --success or --near-miss")
    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)
    appended = use_desk(settings, _labelling(decision_id, named[0], summary))
    facts = {"event_id": appended.event_id, "memory_id": appended.memory_id}
    if as_json:
        write_json(facts, "-", pretty=False)
    else:
        say_facts(facts)


def _labelling(
    decision_id: str, label: str, summary: str | None
) -> Callable[[Desk, LumynConfig], Awaitable[Appended]]:
    data: JSONObject = {"label": label, "source": "cli"}
    if summary is not None:
        data["summary"] = summary

    async def work(desk: Desk, _: LumynConfig) -> Appended:
        try:
            return await desk.append(decision_id, "label", data)
        except NotFoundError:
            raise NotFoundError(f"decision not found: {decision_id}") from None

    return work
