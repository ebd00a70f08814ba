"""`lumyn doctor`: is everything there and well? If not: what is wrong, and how to mend it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.render import EXIT_REPORTED, fail, say, say_facts, write_json
from gateway.cli.workspace import DIRECTORY, POLICY_FILE, load_settings, make, use_desk
from gateway.kernel.errors import GatewayError, InvalidPolicyError
from gateway.policy.builtin import SUPPORT

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk


@dataclass(slots=True)
class _Findings:
    """What was found: facts to print, and problems with what mends each."""

    facts: dict[str, object] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def problem(self, message: str, hint: str | None) -> None:
        self.problems.append((message, hint or ""))


def doctor_command(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Make what is missing; never replace anything.")] = False,
    policy_template: Annotated[str, typer.Option(help="Policy to begin with, where one is made.")] = SUPPORT,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Check configuration, policy and store, and say what is wrong and how to mend it."""
    try:
        settings = load_settings(workspace, config)
        if fix:
            settings = _fix(settings, workspace, config, policy_template)
    except GatewayError as error:
        fail(error)
    found = _Findings()
    _check_policy(settings, workspace, found)
    _check_store(settings, found)
    if as_json:
        problems = [{"problem": message, "mend": hint} for message, hint in found.problems]
        write_json({"ok": not problems, "problems": problems} | found.facts, "-", pretty=True)
    else:
        say("ok" if not found.problems else f"{len(found.problems)} problems")
        say_facts(found.facts)
    for message, hint in found.problems:
        typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
        typer.echo(f"mend: {hint}", err=True)
    if found.problems:
        raise typer.Exit(EXIT_REPORTED)


def _fix(settings: Config, workspace: str | None, config: str | None, template: str) -> Config:
    """Make the workspace's policy and store where they are missing."""
    from gateway.store.open import is_sqlite, sqlite_path

    if workspace is not None or "url" not in settings.storage.model_fields_set:
        make(Path(workspace or DIRECTORY), template=template, force=False)
        settings = load_settings(workspace, config)
    url = settings.storage.url
    if is_sqlite(url) and not _has_content(Path(sqlite_path(url))):

        async def open_once(desk: Desk, _: LumynConfig) -> None:
            await desk.store()

        use_desk(settings, open_once, create=True)
    return settings


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _check_policy(settings: Config, workspace: str | None, found: _Findings) -> None:
    from gateway.pipeline.policies import load_policies
    from gateway.policy.lint import lint_policy

    directory = Path(workspace or DIRECTORY)
    in_workspace = workspace is not None or "path" not in settings.policy.model_fields_set
    if in_workspace and directory.is_dir() and not (directory / POLICY_FILE).is_file():
        found.problem(f"policy not found: {directory / POLICY_FILE}", "run `lumyn doctor --fix`")
    try:
        policies = load_policies(settings.policy)
    except InvalidPolicyError as error:
        found.problem(error.message, error.hint)
    except GatewayError as error:
        found.problem(error.message, error.hint)
    else:
        found.facts["policy"] = settings.policy.path
        found.facts["policy_hash"] = policies.main.policy_hash
        found.facts["lint_findings"] = len(lint_policy(policies.main))


def _check_server(settings: Config, found: _Findings) -> None:
    """Open a store that is no file: whatever keeps a gateway from opening it is told."""
    import asyncio

    from gateway.embed.desk import Desk
    from gateway.system import SystemClock, SystemRandomness

    async def open_once() -> None:
        desk = Desk(settings.storage.url, SystemClock(), SystemRandomness())
        try:
            await desk.store()
        finally:
            await desk.close()

    found.facts["storage"] = settings.storage.url.partition(":")[0]
    try:
        asyncio.run(open_once())
    except GatewayError as error:
        found.problem(error.message, error.hint)


def _check_store(settings: Config, found: _Findings) -> None:
    from gateway.store.inspect import inspect_sqlite
    from gateway.store.open import is_sqlite, sqlite_path

    url = settings.storage.url
    try:
        if not is_sqlite(url):
            _check_server(settings, found)
            return
        path = Path(sqlite_path(url))
    except GatewayError as error:
        found.problem(error.message, error.hint)
        return
    found.facts["workspace"] = str(path.parent.absolute())
    if not path.parent.is_dir():
        found.problem(f"workspace not found: {path.parent}", "run `lumyn init` or `lumyn doctor --fix`")
    elif not path.is_file():
        writable = os.access(path.parent, os.W_OK | os.X_OK)
        mend = "run `lumyn doctor --fix`" if writable else f"allow writing in {path.parent} first"
        found.problem(f"db not found: {path}", mend)
    else:
        inspection = inspect_sqlite(path)
        found.facts |= inspection.counts
        for problem in inspection.problems:
            found.problem(problem.message, problem.hint)
