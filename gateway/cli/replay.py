"""`lumyn replay`: decide again, from a pack alone or from the store, and compare every byte."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.render import EXIT_REPORTED, fail, refuse, say, say_facts, write_json
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.engine.packs import PackCheck


def replay_command(
    pack: Annotated[str, typer.Argument(help="A decision pack (.zip), or the id of a stored decision.")],
    *,
    markdown: options.Markdown = False,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Decide again what was decided, and report every difference. Exit code 1 where there is one."""
    from gateway.engine.packs import check_pack
    from gateway.kernel.ids import is_ulid

    try:
        data = _stored(pack, workspace, config) if is_ulid(pack) else _read(pack)
        check = check_pack(data)
    except GatewayError as error:
        fail(error)
    if as_json:
        write_json(
            {"ok": check.ok, "legacy": check.legacy, "faults": check.faults} | _facts(check), "-", pretty=True
        )
    elif markdown:
        from gateway.records.markdown import record_markdown

        say(record_markdown(check.record, heading="Lumyn replay").rstrip("\n"))
    elif check.ok:
        say("ok")
        say_facts(_facts(check))
    for fault in check.faults:
        typer.echo(f"error: {fault}", err=True)
    if check.faults:
        raise typer.Exit(EXIT_REPORTED)


def _facts(check: PackCheck) -> dict[str, object]:
    record = check.record
    facts = {
        "decision_id": record["decision_id"],
        "verdict": record["verdict"],
        "policy_hash": record["policy"]["policy_hash"],
        "context_digest": record["request"]["context"]["digest"],
        "inputs_digest": record["determinism"]["inputs_digest"],
    }
    if record.get("obligations"):
        facts["obligations"] = len(record["obligations"])
    return facts


def _read(path: str) -> bytes:
    if not path.endswith(".zip"):
        refuse(f"neither a .zip file nor a decision id: {path}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        refuse(f"cannot read {path}: {(error.strerror or type(error).__name__).lower()}")


def _stored(decision_id: str, workspace: str | None, config: str | None) -> bytes:
    async def work(desk: Desk, _: LumynConfig) -> bytes:
        return await desk.pack(decision_id)

    return use_desk(load_settings(workspace, config), work)
