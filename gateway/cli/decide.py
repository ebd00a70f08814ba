"""`lumyn decide`: decide one request from a file or a pipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.render import fail, refuse, write_json
from gateway.cli.workspace import ensure, load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.kernel.types import JSONObject

In = Annotated[str | None, typer.Option("--in", help="The same as FILE.", show_default=False)]


def decide_command(
    file: Annotated[
        str | None, typer.Argument(help="A decision_request.v0; a hyphen, or nothing, is standard input.")
    ] = None,
    in_: In = None,
    out: options.Out = "-",
    *,
    pretty: Annotated[bool, typer.Option("--pretty", help="Indented, not all in one line.")] = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Decide a request and print its Decision Record, which is stored by then. The verdict is no error."""
    import orjson

    if file is not None and in_ is not None:
        raise typer.BadParameter("name the file once: as FILE or with --in")
    try:
        request = _read(file or in_ or "-")
        settings = ensure(load_settings(workspace, config), workspace, config)
    except GatewayError as error:
        fail(error)

    async def work(desk: Desk, chosen: LumynConfig) -> bytes:
        return await desk.decide(chosen, request)

    write_json(orjson.loads(use_desk(settings, work, create=True)), out, pretty=pretty)


def _read(path: str) -> JSONObject:
    from gateway.kernel.parse import parse_json
    from gateway.records.request import validate_request

    name = "standard input" if path == "-" else path
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except FileNotFoundError:
        refuse(f"file not found: {path}")
    except OSError as error:
        refuse(f"cannot read {path}: {(error.strerror or type(error).__name__).lower()}")
    try:
        value = parse_json(data)
    except GatewayError as error:
        refuse(f"invalid json in {name}: {error.message}", hint=error.hint or "")
    if not isinstance(value, dict):
        refuse(f"expected a JSON object in {name}")
    return validate_request(value)
