"""`lumyn serve`: run the gateway."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import options
from gateway.cli.render import EXIT_SETUP, fail, say, say_facts
from gateway.cli.workspace import load_settings
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.app import Ports
    from gateway.config import Config


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address of the data plane.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the data plane; 0 takes a free one.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port of the admin listener; 0 takes a free one.")
    ] = None,
    config: options.Config = None,
    workspace: options.Workspace = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print it, do not listen.")
    ] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C, then let running requests end."""
    from gateway.pipeline.policies import load_policies

    listen = {"host": host, "port": port, "admin_port": admin_port}
    flags: dict[str, Any] = {"listen": {name: value for name, value in listen.items() if value is not None}}
    try:
        settings = load_settings(workspace, config, flags)
        policies = load_policies(settings.policy)
        if settings.intents:
            from gateway.governing import control_config, warnings_of

            control = control_config(settings)
            for line in () if control is None else warnings_of(settings, control):
                typer.echo(f"warning: {line}", err=True)
        _print_settings(settings, policies.main.policy_hash)
        if not dry_run:
            _run(settings, lambda: load_settings(workspace, config, flags))
    except GatewayError as error:
        fail(error, setup_code=EXIT_SETUP)


def _run(settings: Config, reload: Callable[[], Config]) -> None:
    import asyncio

    import uvloop

    from gateway.app import serve

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ready = partial(_print_ready, settings)
        runner.run(serve(settings, ready=ready, reload=reload))


def _print_settings(settings: Config, policy_hash: str) -> None:
    say("Lumyn service")
    rows = {
        "storage_url": _without_password(settings.storage.url),
        "policy_path": settings.policy.path,
        "policy_hash": policy_hash,
        "mode": settings.policy.mode.value if settings.policy.mode else "as the policy says",
        "redaction_profile": settings.redaction.profile,
        "top_k": str(settings.memory.top_k),
        "signing": "enabled" if settings.service.signing_secret else "disabled",
        "keys": str(len(settings.keys)) if settings.keys else "none: one local tenant, loopback only",
        "backends": ", ".join(f"{one.name} {one.url}" for one in settings.backends)
        or "embedded simulated llm-d",
    }
    say_facts(rows)


def _print_ready(settings: Config, ports: Ports) -> None:
    origin = _origin(settings.listen.host, ports.port)
    admin = _origin(settings.listen.admin_host, ports.admin_port)
    say_facts(
        {"url": origin, "openai_base_url": f"{origin}/v1", "admin": f"{admin}/admin/decisions"},
    )
    sys.stdout.flush()


def _origin(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not mark or not at:
        return url
    return f"{scheme}://{credentials.partition(':')[0]}:***@{host}"
