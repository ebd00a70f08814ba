"""`lumyn init`: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import options
from gateway.cli.render import refuse, say_facts
from gateway.cli.workspace import DIRECTORY, load_settings, make, use_desk
from gateway.kernel.errors import InvalidConfigError, InvalidPolicyError
from gateway.policy.builtin import SUPPORT


def init_command(
    workspace: Annotated[str, typer.Option(help="Directory to make.")] = DIRECTORY,
    policy_template: Annotated[
        str, typer.Option(help="Policy to begin with: a file or a built-in.")
    ] = SUPPORT,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a policy that is there.")] = False,
    config: options.Config = None,
) -> None:
    """Make a workspace: a directory with a policy to edit and an empty store."""
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.pipeline.policies import load_policy

    directory = Path(workspace)
    try:
        load_policy(policy_template)
    except InvalidConfigError:
        refuse(f"policy template not found: {policy_template}", hint="name a file, or a built-in policy")
    except InvalidPolicyError as error:
        refuse(f"policy template {policy_template}: {error.message}")
    policy = make(directory, template=policy_template, force=force)

    async def open_once(desk: Desk, _: LumynConfig) -> None:
        await desk.store()

    use_desk(load_settings(workspace, config), open_once, create=True)
    say_facts(
        {
            "workspace": directory.absolute(),
            "policy": policy.absolute(),
            "db": (directory / "lumyn.db").absolute(),
        }
    )
