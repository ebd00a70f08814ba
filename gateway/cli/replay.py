"""`lumyn replay`: decide again what was decided, and report every difference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.instants import instant_ms
from gateway.cli.render import EXIT_REPORTED, fail, refuse, say, say_facts, write_json
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from controller.rederive import Rederive
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.engine.packs import PackCheck


def replay_command(
    pack: Annotated[
        str | None, typer.Argument(help="A decision pack (.zip), or the id of a stored decision.")
    ] = None,
    *,
    control: Annotated[
        bool,
        typer.Option("--control", help="Every control decision of the ledger: plans, ticks, epochs, modes."),
    ] = False,
    since: options.Since = None,
    markdown: options.Markdown = False,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Decide again what was decided, and report every difference. Exit code 1 where there is one.

    A stored LLM decision that was planned under pressure has its plan made again too.
    """
    if control:
        if pack is not None:
            raise typer.BadParameter("--control replays the whole ledger: give no decision with it")
        _replay_control(instant_ms(since, "--since"), workspace, config, as_json=as_json)
        return
    if pack is None:
        raise typer.BadParameter("give a decision pack (.zip) or a decision id, or --control")
    if since is not None:
        raise typer.BadParameter("--since goes with --control")
    _replay_decision(pack, workspace, config, markdown=markdown, as_json=as_json)


def _replay_decision(
    pack: str, workspace: str | None, config: str | None, *, markdown: bool, as_json: bool
) -> None:
    from gateway.engine.packs import check_pack
    from gateway.kernel.ids import is_ulid

    plan: Rederive | None = None
    try:
        if is_ulid(pack):
            data, plan = _stored(pack, workspace, config)
        else:
            data = _read(pack)
        check = check_pack(data)
    except GatewayError as error:
        fail(error)
    facts, faults = _facts(check), list(check.faults)
    if plan is not None and (plan.total or plan.unheld):
        faults += _plan_faults(plan)
        facts["plan"] = "the same" if plan.total and not plan.faults else "not made again"
    if as_json:
        write_json({"ok": not faults, "legacy": check.legacy, "faults": faults} | facts, "-", pretty=True)
    elif markdown:
        from gateway.records.markdown import record_markdown

        say(record_markdown(check.record, heading="Lumyn replay").rstrip("\n"))
    elif not faults:
        say("ok")
        say_facts(facts)
    _report(faults)


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


def _plan_faults(plan: Rederive) -> list[str]:
    faults = list(plan.faults)
    if plan.unheld:
        faults.append(
            "the tick that the plan was made in is not in the ledger: older segments may be dropped"
        )
    return faults


def _read(path: str) -> bytes:
    if not path.endswith(".zip"):
        refuse(f"neither a .zip file nor a decision id: {path}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        refuse(f"cannot read {path}: {(error.strerror or type(error).__name__).lower()}")


def _stored(decision_id: str, workspace: str | None, config: str | None) -> tuple[bytes, Rederive | None]:
    from gateway.kernel.types import EVERY_TENANT

    async def work(desk: Desk, _: LumynConfig) -> tuple[bytes, Rederive | None]:
        data, store = await desk.pack(decision_id), await desk.store()
        entry = await store.decision(EVERY_TENANT, decision_id)
        if entry is None or b'"control":' not in entry.body:
            # the controller is loaded for its own decisions only
            return data, None
        from gateway.cli.rederive import rederive_one

        return data, await rederive_one(store, entry)

    return use_desk(load_settings(workspace, config), work)


def _replay_control(
    since_ms: int | None, workspace: str | None, config: str | None, *, as_json: bool
) -> None:
    async def work(desk: Desk, _: LumynConfig) -> Rederive:
        from gateway.cli.rederive import rederive

        return await rederive(await desk.store(), since_ms, None, _progress)

    try:
        made = use_desk(load_settings(workspace, config), work)
    except GatewayError as error:
        fail(error)
    if sys.stderr.isatty():
        typer.echo("", err=True)
    facts = {
        "control_decisions": made.total,
        "differences": made.fault_count,
        "by_part": dict(sorted(made.checked.items())),
        "plans_without_table": made.untabled,
        "plans_without_tick": made.unheld,
    }
    ok = not made.fault_count and not made.unheld
    if as_json:
        write_json({"ok": ok, "faults": made.faults} | facts, "-", pretty=True)
    elif ok:
        parts = ", ".join(f"{part} {count}" for part, count in sorted(made.checked.items())) or "none"
        say(f"ok: {made.total} control decisions made again, no difference ({parts})")
        say(f"plans without pressure, stored without their tables: {made.untabled}")
    faults = list(made.faults)
    if made.fault_count > len(faults):
        faults.append(f"and {made.fault_count - len(faults)} more differences")
    if made.unheld:
        faults.append(
            f"{made.unheld} plans name a tick that is not in the ledger: older segments may be dropped, "
            "choose a later --since"
        )
    _report(faults)


def _progress(made: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{made} made again", err=True, nl=False)


def _report(faults: list[str]) -> None:
    for fault in faults:
        typer.echo(f"error: {fault}", err=True)
    if faults:
        raise typer.Exit(EXIT_REPORTED)
