"""`lumyn records`: list, export and drop what is stored, and list what is still without an outcome."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gateway.cli import options
from gateway.cli.drop import drop_command
from gateway.cli.instants import instant_ms
from gateway.cli.render import fail, json_text, say, table
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.records.types import DecisionEntry
    from gateway.store.port import DecisionFilter

T = TypeVar("T")

app = typer.Typer(help="List, export and drop stored records.", no_args_is_help=True, rich_markup_mode=None)
app.command("drop")(drop_command)
Until = Annotated[str | None, typer.Option(help="Only before then; as --since.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="How many.")]


@app.command("ls")
def ls_command(
    verdict: Annotated[str | None, typer.Option(help="TRUST, ABSTAIN, ESCALATE or QUERY.")] = None,
    action_type: Annotated[str | None, typer.Option(help="Such as support.refund.")] = None,
    reason: Annotated[str | None, typer.Option(help="A reason code.")] = None,
    model: Annotated[str | None, typer.Option(help="The model asked for.")] = None,
    tenant: Annotated[str | None, typer.Option(help="The tenant's id.")] = None,
    since: options.Since = None,
    until: Until = None,
    limit: Limit = 50,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """List decisions, newest first. With --json one record a line."""
    from gateway.store.port import DecisionFilter

    wanted = DecisionFilter(
        verdict=None if verdict is None else verdict.upper(),
        action_type=action_type,
        model=model,
        reason_code=reason,
        since_ms=instant_ms(since, "--since"),
        until_ms=instant_ms(until, "--until"),
    )
    _print(_found(workspace, config, _listing(wanted, tenant, limit)), as_json=as_json)


@app.command("dangling")
def dangling_command(
    limit: Limit = 50,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """List decisions that were let go on and have no outcome yet, oldest first."""

    async def work(desk: Desk, _: LumynConfig) -> tuple[DecisionEntry, ...]:
        return await (await desk.store()).dangling(limit=limit)

    _print(_found(workspace, config, work), as_json=as_json)


@app.command("export")
def export_command(
    form: Annotated[str, typer.Option("--format", help="jsonl (with events) or csv (columns).")] = "jsonl",
    tenant: Annotated[str | None, typer.Option(help="The tenant's id; else every tenant.")] = None,
    since: options.Since = None,
    until: Until = None,
    *,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Write decisions to standard output, newest first, as JSON Lines or CSV, however many there are."""
    if form not in {"jsonl", "csv"}:
        raise typer.BadParameter(f"--format is {form!r}; use jsonl or csv")
    since_ms, until_ms = instant_ms(since, "--since"), instant_ms(until, "--until")

    async def work(desk: Desk, _: LumynConfig) -> None:
        from gateway.kernel.types import EVERY_TENANT, Tenant
        from gateway.store.export import export_csv, export_json_lines
        from gateway.store.port import DecisionFilter

        write = export_csv if form == "csv" else export_json_lines
        scope = EVERY_TENANT if tenant is None else Tenant(tenant)
        wanted = DecisionFilter(since_ms=since_ms, until_ms=until_ms)
        async for line in write(await desk.store(), scope, wanted):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    _found(workspace, config, work)


def _listing(
    wanted: DecisionFilter, tenant: str | None, limit: int
) -> Callable[[Desk, LumynConfig], Awaitable[tuple[DecisionEntry, ...]]]:
    from gateway.kernel.types import EVERY_TENANT, Tenant
    from gateway.store.export import walk

    scope = EVERY_TENANT if tenant is None else Tenant(tenant)

    async def work(desk: Desk, _: LumynConfig) -> tuple[DecisionEntry, ...]:
        found: list[DecisionEntry] = []
        async for entry in walk(await desk.store(), scope, wanted, page_max=limit):
            found.append(entry)
            if len(found) == limit:
                break
        return tuple(found)

    return work


def _found(workspace: str | None, config: str | None, work: Callable[[Desk, LumynConfig], Awaitable[T]]) -> T:
    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)
    return use_desk(settings, work)


def _print(entries: Sequence[DecisionEntry], *, as_json: bool) -> None:
    import orjson

    from gateway.kernel.clock import rfc3339

    if as_json:
        for entry in entries:
            say(json_text(orjson.loads(entry.body), pretty=False).rstrip("\n"))
        return
    table(
        ("decision_id", "created_at", "verdict", "action_type", "tenant", "reason_codes"),
        (
            (
                entry.entry_id,
                rfc3339(entry.at_ms),
                entry.verdict,
                entry.action_type,
                entry.tenant.tenant_id or "-",
                ", ".join(entry.reason_codes),
            )
            for entry in entries
        ),
    )
