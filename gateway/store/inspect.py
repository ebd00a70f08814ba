"""Looks at a store's file without opening it as a writer: is it ours, is it whole, how much is in it.

For `lumyn doctor`. Never writes, never makes a file, and answers whatever it finds in words.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.kernel.errors import StoreSetupError
from gateway.store.place import NETWORK_FILESYSTEMS, filesystem_of
from gateway.store.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION

KINDS: Final[Mapping[str, str]] = {
    "decision": "decisions",
    "event": "decision_events",
    "memory": "memory_items",
    "policy": "policy_snapshots",
}
"""What the entries of each kind are called in a report (contract 6)."""
_MOUNTS: Final = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found: how many entries of each kind, and what is wrong, each with how to mend it."""

    counts: Mapping[str, int]
    problems: tuple[StoreSetupError, ...]


def inspect_sqlite(path: Path) -> Inspection:
    """Return what can be said of the store at `path`, which must be there."""
    problems = list(_place_problems(path))
    counts: dict[str, int] = {}
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            problems += _content_problems(connection, path)
            if not problems or connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
                found = dict(connection.execute("SELECT kind, count(*) FROM entries GROUP BY kind"))
                counts = {name: found.get(kind, 0) for kind, name in KINDS.items()}
        finally:
            connection.close()
    except sqlite3.Error as error:
        problems.append(_damaged(path, str(error)))
    return Inspection(counts, tuple(problems))


def _place_problems(path: Path) -> list[StoreSetupError]:
    found = []
    if not os.access(path, os.W_OK):
        found.append(StoreSetupError(f"{path} is read-only", hint=f"chmod u+w {path}, or run as its owner"))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        found.append(
            StoreSetupError(
                f"cannot write in {path.parent}", hint="allow writing there, or choose another --workspace"
            )
        )
    elif os.statvfs(path.parent).f_flag & os.ST_RDONLY:
        found.append(
            StoreSetupError(
                f"{path.parent} lies on a read-only disk", hint="mount it for writing, or move it"
            )
        )
    if _MOUNTS.exists():
        kind = filesystem_of(path.parent.resolve(), _MOUNTS.read_text())
        if kind in NETWORK_FILESYSTEMS:
            found.append(
                StoreSetupError(f"{path} lies on a network file system ({kind})", hint="use a local disk")
            )
    return found


def _content_problems(connection: sqlite3.Connection, path: Path) -> list[StoreSetupError]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version == 0 and tables == 0:
        return [StoreSetupError(f"{path} is empty", hint="run `lumyn doctor --fix` to make a store of it")]
    if version == 0 or connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return [
            StoreSetupError(
                f"{path} is a database of something else", hint="move it away, or choose another --workspace"
            )
        ]
    if version > SCHEMA_VERSION:
        return [
            StoreSetupError(
                f"{path} has schema {version}, this version of lumyn knows {SCHEMA_VERSION} at most",
                hint="install the newer version of lumyn that wrote it",
            )
        ]
    words = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return [] if words == "ok" else [_damaged(path, words)]


def _damaged(path: Path, words: str) -> StoreSetupError:
    return StoreSetupError(
        f"{path} is damaged: {words.splitlines()[0] if words else 'no reason given'}",
        hint=f"move it and the files beside it ({path.name}-*) away, keep them, restore a backup, "
        "then run `lumyn verify`",
    )
