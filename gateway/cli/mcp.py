"""`lumyn mcp pins`: which definitions of tools are in force, what waits, and the word that accepts it."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gateway.cli import options
from gateway.cli.render import fail, refuse, say, say_facts, table, write_json
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.pipeline.pins import Pin, Pins, Standing

T = TypeVar("T")

app = typer.Typer(help="MCP servers behind the gateway.", no_args_is_help=True, rich_markup_mode=None)
pins = typer.Typer(help="Pinned definitions of tools.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(pins, name="pins")

_DIGEST_SHOWN = 19
"""`sha256:` and twelve digits: enough to tell definitions apart at a glance."""
Server = Annotated[str, typer.Argument(help="The server's name in the configuration.", metavar="SERVER")]
Tool = Annotated[str, typer.Argument(help="The tool's name.", metavar="TOOL")]


@app.callback()
def mcp() -> None:
    """MCP servers behind the gateway."""


@pins.command("ls")
def ls_command(
    server: Annotated[str | None, typer.Option(help="Only this server's.")] = None,
    *,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those with a definition that waits.")
    ] = False,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """List tools and the definition of each that is in force; `waits` where the server gives another one."""

    async def work(kept: Pins) -> list[Standing]:
        await kept.load()
        return [
            standing
            for standing in kept.listed()
            if standing.pin is not None
            and server in {None, standing.pin.server}
            and (standing.change is not None or not waiting)
        ]

    found = _use(workspace, config, work)
    if as_json:
        write_json([_json(standing) for standing in found], "-", pretty=False)
        return
    table(("server", "tool", "state", "digest", "waits"), (_row(standing) for standing in found))


@pins.command("show")
def show_command(
    server: Server,
    tool: Tool,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Show a tool's definition, and how the one that waits differs from it."""

    async def work(kept: Pins) -> Standing:
        return await kept.refresh(server, tool)

    standing = _use(workspace, config, work)
    if standing.pin is None:
        refuse(f"no tool `{tool}` of `{server}` is pinned", hint="`lumyn mcp pins ls` lists those that are")
    if as_json:
        write_json(_json(standing), "-", pretty=False)
        return
    say_facts({"server": server, "tool": tool, "state": _state(standing), **_facts(standing.pin)})
    if standing.change is None:
        say(_indented(standing.pin))
        return
    say_facts({f"waiting_{name}": fact for name, fact in _facts(standing.change).items()})
    for line in _difference(standing.pin, standing.change):
        say(line)


@pins.command("accept")
def accept_command(
    server: Server,
    tool: Tool,
    digest: Annotated[
        str, typer.Option(help="The digest of the definition that you have looked at, as `show` prints it.")
    ],
    reason: Annotated[str, typer.Option(help="Why it is right; stands in the record.")],
    by: Annotated[
        str | None, typer.Option(help="Who accepts; else who runs this.", show_default=False)
    ] = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Put a changed definition in force. A running gateway knows it at the next call of the tool."""
    who = by or getpass.getuser()

    async def work(kept: Pins) -> Pin:
        return await kept.accept(server, tool, digest, by=who, reason=reason)

    pin = _use(workspace, config, work)
    facts = {"server": server, "tool": tool, **_facts(pin)}
    if as_json:
        write_json(facts, "-", pretty=False)
    else:
        say_facts(facts)


def _use(workspace: str | None, config: str | None, work: Callable[[Pins], Awaitable[T]]) -> T:
    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)

    async def on_desk(desk: Desk, _: LumynConfig) -> T:
        from gateway.kernel.ids import IdSource
        from gateway.pipeline.gatehouse import gate_entries
        from gateway.pipeline.pins import Pins
        from gateway.system import SystemClock, SystemRandomness

        clock, store = SystemClock(), await desk.store()
        await store.submit(gate_entries(clock.wall_ms()))
        return await work(Pins(store, clock, IdSource(clock, SystemRandomness())))

    return use_desk(settings, on_desk)


def _row(standing: Standing) -> tuple[str, ...]:
    pin, change = standing.pin, standing.change
    assert pin is not None
    waits = "-" if change is None else change.digest[:_DIGEST_SHOWN]
    return pin.server, pin.tool, _state(standing), pin.digest[:_DIGEST_SHOWN], waits


def _state(standing: Standing) -> str:
    return "pinned" if standing.change is None else "held"


def _facts(pin: Pin) -> dict[str, str]:
    from gateway.kernel.clock import rfc3339

    return {"digest": pin.digest, "since": rfc3339(pin.at_ms), "decision_id": pin.decision_id}


def _json(standing: Standing) -> dict[str, object]:
    pin, change = standing.pin, standing.change
    assert pin is not None
    facts: dict[str, object] = {"server": pin.server, "tool": pin.tool, "state": _state(standing)}
    facts |= {**_facts(pin), "definition": pin.text}
    if change is not None:
        facts["waiting"] = {**_facts(change), "definition": change.text}
    return facts


def _indented(pin: Pin) -> str:
    """Return a definition as people read it; one that was cut is no JSON any more and stays as it is."""
    import orjson

    try:
        return orjson.dumps(orjson.loads(pin.text), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return pin.text


def _difference(pin: Pin, change: Pin) -> list[str]:
    from difflib import unified_diff

    lines = unified_diff(
        _indented(pin).splitlines(), _indented(change).splitlines(), "pinned", "waiting", lineterm=""
    )
    return list(lines)
