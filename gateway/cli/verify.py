"""`lumyn verify`: find what is stored and is not what was written."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.render import EXIT_REPORTED, fail, refuse, say, write_json
from gateway.cli.workspace import load_settings, require_store
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from gateway.store.audit import Report


def verify_command(
    jobs: Annotated[int, typer.Option(min=0, max=64, help="Processes; 0 means one a core.")] = 0,
    heads: Annotated[
        Path | None,
        typer.Option(help="A file of anchored heads that must be reached, beside that of the store."),
    ] = None,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Check every record against its hash chain and its anchors. Exit code 1 where anything is wrong."""
    try:
        url = load_settings(workspace, config).storage.url
        require_store(url)
        report = _verify(url, jobs or os.cpu_count() or 1, heads)
    except GatewayError as error:
        fail(error)
    if as_json:
        write_json(
            {
                "ok": not report.faults,
                "records": report.records,
                "writers": len(report.heads),
                "faults": [str(fault) for fault in report.faults],
            },
            "-",
            pretty=True,
        )
    elif not report.faults:
        say(f"ok: {report.records} records of {len(report.heads)} writers are as they were written")
    for fault in report.faults:
        typer.echo(f"error: {fault}", err=True)
    if report.faults:
        raise typer.Exit(EXIT_REPORTED)


def _verify(url: str, jobs: int, heads: Path | None) -> Report:
    """Verify whatever store the URL names; where there is much, several processes read."""
    from gateway.store.anchor import read_anchors
    from gateway.store.open import is_sqlite, sqlite_path

    anchors = {} if heads is None else read_anchors(heads)
    if is_sqlite(url):
        from gateway.store.verify import verify_sqlite

        return verify_sqlite(Path(sqlite_path(url)), jobs=jobs, progress=_progress, anchors=anchors)
    try:
        from gateway.store.verify_postgres import verify_postgres
    except ImportError:
        refuse(
            "storage.url names PostgreSQL, and asyncpg is not installed",
            hint="pip install 'lumyn-gateway[postgres]'",
        )
    return asyncio.run(verify_postgres(url, jobs=jobs, progress=_progress, anchors=anchors))


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {total}", err=True, nl=done >= total)
