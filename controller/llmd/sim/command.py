"""`lumyn sim`, and `python -m controller.llmd.sim`: run the simulated llm-d alone, until a signal.

A composition root: the only file of the simulator that names the real clock, files and signals.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import signal
import ssl
import time
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
import uvloop
from typer.core import TyperCommand

from controller.llmd.sim.config import SimConfig
from controller.llmd.sim.document import load_yaml
from controller.llmd.sim.engine_config import SimConfigError
from controller.llmd.sim.flag_file import flags_from, is_flag_file, plain_arguments
from controller.llmd.sim.flags import config_from_flags
from controller.llmd.sim.options import Flags
from controller.llmd.sim.server import EmbeddedSim
from controller.llmd.sim.tls import server_context

PORT = 8200
"""Where it listens unless told otherwise; llm-d-inference-sim's is 8000."""

_OWN: dict[str, Any] = {
    "config": Annotated[
        Path | None,
        typer.Option(
            help="A YAML file with the keys of SimConfig, or with flags as llm-d-inference-sim has it."
        ),
    ],
    "host": Annotated[str, typer.Option(help="Address to listen on; the simulator asks for no key.")],
    "port": Annotated[
        int | None, typer.Option(help=f"Port to listen on; 0 takes a free one. [default: {PORT}]")
    ],
    "ssl_certfile": Annotated[Path | None, typer.Option(help="Serve HTTPS with this certificate.")],
    "ssl_keyfile": Annotated[Path | None, typer.Option(help="The key of --ssl-certfile.")],
    "self_signed_certs": Annotated[
        bool,
        typer.Option(
            "--self-signed-certs/--no-self-signed-certs",
            help="Serve HTTPS with a certificate made on the spot.",
        ),
    ],
}
"""Options that are no part of the configuration."""


class SimCommand(TyperCommand):
    """Reads arguments as llm-d-inference-sim writes them, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return what is left of the arguments: nothing."""
        return super().parse_args(ctx, plain_arguments(args))


def sim(
    *,
    config: Path | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    ssl_certfile: Path | None = None,
    ssl_keyfile: Path | None = None,
    self_signed_certs: bool = False,
    **given: Any,
) -> None:
    """Run a simulated llm-d: vLLM replicas behind the endpoint picker, with honest behaviour under load.

    Any of the compat flags replaces the step model by the latency formula of llm-d-inference-sim.
    """
    try:
        built, file_port = _configured(config, given)
        context = server_context(ssl_certfile, ssl_keyfile, self_signed=self_signed_certs)
    except (SimConfigError, OSError, UnicodeDecodeError) as error:
        typer.echo(f"lumyn sim: {error}", err=True)
        raise typer.Exit(2) from error
    asked = port if port is not None else file_port if file_port is not None else PORT
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(built, host, asked, context))


def _signature() -> inspect.Signature:
    """Return the options of the command: its own, and every flag of a configuration."""
    kind = inspect.Parameter.KEYWORD_ONLY
    defaults = {"host": "127.0.0.1", "self_signed_certs": False}
    hints = get_type_hints(Flags, include_extras=True)
    parameters = [
        inspect.Parameter(name, kind, default=defaults.get(name), annotation=hint)
        for name, hint in _OWN.items()
    ]
    parameters += [
        inspect.Parameter(field.name, kind, default=None, annotation=hints[field.name])
        for field in fields(Flags)
    ]
    return inspect.Signature(parameters)


def _configured(path: Path | None, given: dict[str, Any]) -> tuple[SimConfig, int | None]:
    """Return the configuration, and the port of a file that has one. Raise `SimConfigError`, OSError."""
    given = {name: value for name, value in given.items() if value is not None and value != []}
    if given.get("enable_sleep_mode") and os.environ.get("VLLM_SERVER_DEV_MODE") != "1":
        given["enable_sleep_mode"] = False
    if path is None:
        return config_from_flags(Flags(**given)), None
    document = path.read_text(encoding="utf-8")
    data = load_yaml(document)
    if not is_flag_file(data):
        return config_from_flags(Flags(**given), document), None
    from_file, port = flags_from(data)
    return config_from_flags(Flags(**(from_file | given))), port


async def _serve(config: SimConfig, host: str, port: int, context: ssl.SSLContext | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    server = EmbeddedSim(config, time.time)  # noqa: TID251 - a composition root hands the clock in
    try:
        base = await server.start(host, port, context)
    except OSError as error:
        typer.echo(f"lumyn sim: cannot listen on {host} port {port}: {error.strerror}; try --port", err=True)
        raise typer.Exit(1) from error
    models = ", ".join(f"{model.name} ({model.replicas})" for model in config.models)
    typer.echo(f"simulated llm-d at {base}/v1, models (replicas): {models}")
    # what is here now lives as long as the process: full collections need not walk it and stall the streams
    gc.freeze()
    await stop.wait()
    await server.stop()


sim.__signature__ = _signature()  # type: ignore[attr-defined]  # one declaration of each flag: `Flags`
sim.__annotations__ = {name: each.annotation for name, each in _signature().parameters.items()}

app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.command(cls=SimCommand)(sim)
