"""`lumyn verify`: find what is stored and is not what was written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import options
from gateway.cli.render import EXIT_REPORTED, fail, refuse, say, write_json
from gateway.cli.workspace import load_settings, require_store
from gateway.kernel.errors import GatewayError


def verify_command(
    jobs: Annotated[int, typer.Option(min=0, max=64, help="Processes; 0 means one a core.")] = 0,
    *,
    as_json: options.AsJson = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Check every record against its hash chain and its anchors. Exit code 1 where anything is wrong."""
    from gateway.store.open import is_sqlite, sqlite_path
    from gateway.store.verify import verify_sqlite

    try:
        url = load_settings(workspace, config).storage.url
        if not is_sqlite(url):
            refuse("verify reads SQLite stores", hint="export the store, then verify the export")
        require_store(url)
        path = Path(sqlite_path(url))
        report = verify_sqlite(path, jobs=jobs or os.cpu_count() or 1, progress=_progress)
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


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r{done} of {total}", err=True, nl=done >= total)
