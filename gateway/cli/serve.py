"""`lumyn serve`: run the gateway."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
import uvloop

from gateway.app import Ports, serve
from gateway.cli.render import OUT, fail
from gateway.config import Config, load_config
from gateway.kernel.errors import GatewayError
from gateway.pipeline.policies import load_policies


def serve_command(
    host: Annotated[str | None, typer.Option(help="Address of the data plane.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the data plane; 0 takes a free one.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port of the admin listener; 0 takes a free one.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="YAML file; else LUMYN_CONFIG_PATH, else the defaults.")
    ] = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print it, do not listen.")
    ] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C, then let running requests end."""
    listen = {"host": host, "port": port, "admin_port": admin_port}
    flags: dict[str, Any] = {"listen": {name: value for name, value in listen.items() if value is not None}}
    try:
        settings = load_config(config, os.environ, flags)
        policies = load_policies(settings.policy)
        _print_settings(settings, policies.main.policy_hash)
        if not dry_run:
            with uvloop_runner() as runner:
                runner.run(serve(settings, ready=lambda ports: _print_ready(settings, ports)))
    except GatewayError as error:
        fail(error)


def uvloop_runner() -> Any:
    """Return a runner with uvloop's event loop."""
    import asyncio

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def _print_settings(settings: Config, policy_hash: str) -> None:
    OUT.print("Lumyn service", style="bold")
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
    for name, value in rows.items():
        OUT.print(f"{name}: {value}", markup=False, soft_wrap=True)


def _print_ready(settings: Config, ports: Ports) -> None:
    origin = _origin(settings.listen.host, ports.port)
    admin = _origin(settings.listen.admin_host, ports.admin_port)
    OUT.print(f"url: {origin}", markup=False, soft_wrap=True)
    OUT.print(f"openai_base_url: {origin}/v1", markup=False, soft_wrap=True)
    OUT.print(f"admin: {admin}/admin/decisions", markup=False, soft_wrap=True)
    OUT.file.flush()


def _origin(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    credentials, at, host = rest.rpartition("@")
    if not mark or not at:
        return url
    return f"{scheme}://{credentials.partition(':')[0]}:***@{host}"
