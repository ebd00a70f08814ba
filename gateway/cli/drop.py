"""`lumyn records drop`: retention by command. Old records are exported, verified, and only then dropped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli import options
from gateway.cli.instants import instant_ms
from gateway.cli.render import fail, refuse, say
from gateway.cli.workspace import load_settings, use_desk
from gateway.kernel.errors import GatewayError

if TYPE_CHECKING:
    from gateway.embed.config import LumynConfig
    from gateway.embed.desk import Desk
    from gateway.store.retention import Export, Vault


def drop_command(
    before: Annotated[
        str, typer.Option(help="Only what is older: 2026-01-31, 2026-01-31T12:00:00Z, or an age such as 90d.")
    ],
    export: Annotated[Path, typer.Option(help="The new file that the records are kept in: JSON Lines.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    workspace: options.Workspace = None,
    config: options.Config = None,
) -> None:
    """Export old records, verify the export, then drop them. What is still bound stays."""
    from gateway.system import SystemClock

    before_ms = instant_ms(before, "--before") or 0
    now_ms = SystemClock().wall_ms()
    if before_ms > now_ms:
        raise typer.BadParameter(f"--before lies in the future: {before!r}")
    try:
        settings = load_settings(workspace, config)
    except GatewayError as error:
        fail(error)

    async def work(desk: Desk, _: LumynConfig) -> Export:
        from gateway.store.retention import drop

        store = await desk.store()  # Before the vault: it brings an older schema up.
        vault = await _open_vault(settings.storage.url)
        try:
            found = await _export(vault, before_ms, now_ms, export)
            say(f"exported {found.records} records to {export}, and verified them")
            if not found.dropped:
                say("nothing to drop: all of them stay")
            elif yes or typer.confirm(f"drop {found.dropped} of them from the store?", abort=True):
                await drop(vault, store, found, entry_id=desk.new_id(), now_ms=now_ms)
                say(f"dropped {found.dropped} records, kept {found.kept} that are still bound")
        finally:
            await vault.close()
        return found

    use_desk(settings, work)


async def _open_vault(url: str) -> Vault:
    from gateway.store.open import is_sqlite, sqlite_path

    if is_sqlite(url):
        from gateway.store.retention_sqlite import SqliteVault

        return SqliteVault(Path(sqlite_path(url)))
    from gateway.store.retention_postgres import open_vault

    return await open_vault(url)


async def _export(vault: Vault, before_ms: int, now_ms: int, path: Path) -> Export:
    """Write the export, flush it to disk, and read it back."""
    from gateway.store.archive import verify_archive
    from gateway.store.retention import export_before

    try:
        with path.open("xb") as file:
            try:
                found = await export_before(vault, before_ms, now_ms, file)
            except GatewayError:
                os.unlink(path)  # noqa: PTH108 - nothing else runs in this loop
                raise
            file.flush()
            os.fsync(file.fileno())
        _flush_directory(path.parent)
        stretches = [(segment.lines, segment.digest) for segment in found.segments]
        verify_archive(path, stretches or None)
    except FileExistsError:
        refuse(f"{path} is there already", hint="name a new file: an export is never overwritten")
    except OSError as error:
        refuse(f"cannot write {path}: {(error.strerror or type(error).__name__).lower()}")
    return found


def _flush_directory(directory: Path) -> None:
    """Make the name of a new file durable: its bytes alone would be lost with it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
