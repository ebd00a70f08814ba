"""Where a command finds its store and its policy: flags, then environment, then file, then `.lumyn`.

A workspace is a directory with `policy.yml` and `lumyn.db`. `init`, `decide` and `demo` make it where it is
missing; commands that only read never do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gateway.cli.render import fail, refuse
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:  # loading these takes longer than most commands run
    from gateway.config import Config
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk

T = TypeVar("T")

DIRECTORY: Final = ".lumyn"
POLICY_FILE: Final = "policy.yml"
STORE_FILE: Final = "lumyn.db"


def load_settings(
    workspace: str | None, config_path: str | None, flags: Mapping[str, Any] | None = None
) -> Config:
    """Return the configuration of a command. Raises InvalidConfigError."""
    from gateway.config import load_config

    found = load_config(config_path, os.environ, flags)
    over: dict[str, Any] = {name: dict(part) for name, part in (flags or {}).items()}
    directory = Path(workspace or DIRECTORY)
    if workspace is not None:
        over["storage"] = {"url": f"sqlite:{directory / STORE_FILE}"}
    configured = "path" in found.policy.model_fields_set
    if (workspace is not None or not configured) and (directory / POLICY_FILE).is_file():
        over["policy"] = over.get("policy", {}) | {"path": str(directory / POLICY_FILE)}
    return load_config(config_path, os.environ, over)


def ensure(settings: Config, workspace: str | None, config_path: str | None) -> Config:
    """Make the workspace where it is missing, and return the configuration with its policy.

    A store that was configured elsewhere has no workspace of its own, and gets none.
    """
    if workspace is None and "url" in settings.storage.model_fields_set:
        return settings
    if "path" in settings.policy.model_fields_set and workspace is None:
        return settings
    directory = Path(workspace or DIRECTORY)
    if not (directory / POLICY_FILE).exists():
        make(directory, template=settings.policy.path, force=False)
    return load_settings(workspace, config_path)


def make(directory: Path, *, template: str, force: bool) -> Path:
    """Make a workspace's directory and its policy; return the policy's path."""
    from gateway.pipeline.policies import read_policy

    policy = directory / POLICY_FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if force or not policy.exists():
            policy.write_bytes(read_policy(template)[0])
    except OSError as error:
        refuse(
            f"cannot make the workspace {directory}: {(error.strerror or type(error).__name__).lower()}",
            hint="choose another directory with --workspace",
        )
    return policy


def use_desk(
    settings: Config, work: Callable[[Desk, LumynConfig], Awaitable[T]], *, create: bool = False
) -> T:
    """Do some work on the configured store; report what goes wrong, and leave.

    Without `create` a local store that is not there is an error, and no new one.
    """
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.system import SystemClock, SystemRandomness

    async def run() -> T:
        if not create:
            require_store(settings.storage.url)
        desk = Desk(settings.storage.url, SystemClock(), SystemRandomness())
        try:
            return await work(desk, LumynConfig.of(settings))
        finally:
            await desk.close()

    try:
        return asyncio.run(run())
    except GatewayError as error:
        fail(error)


def require_store(url: str) -> None:
    """Report a local store that is not there, and leave. Raises StoreSetupError for a URL that is none."""
    from gateway.store.open import is_sqlite, sqlite_path

    if not is_sqlite(url):
        return
    path = Path(sqlite_path(url))
    if not path.parent.is_dir():
        refuse(f"workspace not found: {path.parent}", hint="run `lumyn init`, or name one with --workspace")
    if not path.exists():
        refuse(f"db not found: {path}", hint="run `lumyn init`, or name a workspace with --workspace")
