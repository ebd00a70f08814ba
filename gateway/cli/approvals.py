"""`lumyn approvals`: who waits for a person's word, and that word.

Works on the store itself, so whoever may write it may approve: keep the store where agents cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gateway.cli import options
from gateway.cli.render import fail, json_text, say, say_facts, table, write_json
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.kernel.types import JSONObject
    from gateway.pipeline.approvals import Approvals
    from gateway.store.port import Store

T = TypeVar("T")

app = typer.Typer(
    help="List, show, approve and deny what waits for a person.", no_args_is_help=True, rich_markup_mode=None
)
ApprovalId = Annotated[str, typer.Argument(help="The approval's id.", metavar="ID")]
Reason = Annotated[str, typer.Option(help="Why, in a sentence: it stands in the record.")]
By = Annotated[str | None, typer.Option(help="Who says so; else the name of the user.", show_default=False)]
_COLUMNS = ("approval_id", "asked_at", "state", "principal", "tenant", "action_type", "intent", "amount")


@app.command("ls")
def ls_command(
    state: Annotated[str, typer.Option(help="pending, approved, denied, used, expired, or all.")] = "pending",
    principal: Annotated[str | None, typer.Option(help="Only those of one API key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """List approvals, newest first. With --json one a line."""

    async def work(store: Store, approvals: Approvals, now_ms: int) -> list[JSONObject]:
        from gateway.pipeline.told import read_state, with_request

        wanted = None if state == "all" else read_state(state)
        found, _ = await approvals.page(wanted, owner=principal, limit=limit, cursor=None)
        return [await with_request(store, approval, now_ms) for approval in found]

    found = _on_store(workspace, config, work)
    if as_json:
        for one in found:
            say(json_text(one, pretty=False).rstrip("\n"))
    else:
        table(_COLUMNS, map(_row, found))


@app.command("show")
def show_command(
    approval_id: ApprovalId,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Show one approval: what is asked, by whom, until when, and what was answered."""

    async def work(store: Store, approvals: Approvals, now_ms: int) -> JSONObject:
        from gateway.pipeline.told import with_request

        return await with_request(store, await approvals.find(approval_id), now_ms)

    _print(_on_store(workspace, config, work), as_json=as_json)


@app.command("approve")
def approve_command(
    approval_id: ApprovalId,
    reason: Reason,
    by: By = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Approve one call, once: the agent repeats the very same request."""
    _resolve(approval_id, workspace, config, approve=True, reason=reason, by=by, as_json=as_json)


@app.command("deny")
def deny_command(
    approval_id: ApprovalId,
    reason: Reason,
    by: By = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Deny one call: its repetitions are refused with the reason."""
    _resolve(approval_id, workspace, config, approve=False, reason=reason, by=by, as_json=as_json)


def _resolve(
    approval_id: str,
    workspace: str | None,
    config: str | None,
    *,
    approve: bool,
    reason: str,
    by: str | None,
    as_json: bool,
) -> None:
    async def work(_: Store, approvals: Approvals, now_ms: int) -> JSONObject:
        from gateway.pipeline.told import approval_json, check_reason

        word = check_reason(reason)
        approval = await approvals.resolve(approval_id, approve=approve, by=_who(by), reason=word)
        return approval_json(approval, now_ms)

    _print(_on_store(workspace, config, work), as_json=as_json)


def _who(by: str | None) -> str:
    """Return who speaks; the record says that it was said on the command line."""
    import getpass

    from gateway.kernel.errors import InvalidRequestError

    if by is None:
        try:
            by = getpass.getuser()
        except (KeyError, OSError):
            raise InvalidRequestError("the user has no name", hint="say who you are with --by NAME") from None
    if not by.strip() or not by.isprintable() or len(by) > 128:
        raise InvalidRequestError("--by is no name", hint="1 to 128 characters")
    return f"cli:{by}"


def _on_store(
    workspace: str | None, config: str | None, work: Callable[[Store, Approvals, int], Awaitable[T]]
) -> T:
    async def run(desk: Desk, _: LumynConfig) -> T:
        from gateway.pipeline.approvals import Approvals
        from gateway.system import SystemClock

        store, clock = await desk.store(), SystemClock()
        return await work(store, Approvals(store, clock), clock.wall_ms())

    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)
    return use_desk(settings, run)


def _print(shown: JSONObject, *, as_json: bool) -> None:
    if as_json:
        write_json(shown, "-", pretty=True)
        return
    call = shown.pop("call")
    names = ("principal", "tenant_id", "action_type", "target", "arguments_digest")
    flat = {name: call[name] for name in names}
    for name in ("action", "subject", "evidence", "reason_codes"):
        if name in shown:
            shown[name] = json_text(shown[name], pretty=False).rstrip("\n")
    facts = {"approval_id": shown.pop("approval_id"), "state": shown.pop("state"), **flat, **shown}
    say_facts({name: _visible(fact) for name, fact in facts.items()})


def _visible(fact: object) -> str:
    """Return a fact as a person may see it: what an agent wrote cannot move the cursor or turn the text."""
    return "".join(char if char.isprintable() else "?" for char in str(fact))


def _row(shown: JSONObject) -> Sequence[str]:
    action, call = shown.get("action", {}), shown["call"]
    amount = action.get("amount", {})
    cells = (
        shown["approval_id"],
        shown["asked_at"],
        shown["state"],
        call["principal"],
        call["tenant_id"] or "-",
        call["action_type"],
        action.get("intent", "-"),
        f"{amount['value']} {amount.get('currency', '')}".strip() if "value" in amount else "-",
    )
    return tuple(map(_visible, cells))
