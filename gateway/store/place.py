"""Where a SQLite file may live: each thing that is wrong with a path becomes one clear line.

Runs once, before the file is opened. It may make the last directory of the path, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from gateway.kernel.errors import StoreSetupError

NETWORK_FILESYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gfs2", "ocfs2", "beegfs"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.ceph"}
)
"""WAL needs memory shared between all who open the file (sqlite.org/wal.html); these have none."""
_MOUNTS: Final = Path("/proc/self/mountinfo")


def prepare(path: Path) -> None:
    """Check that a store can be kept at `path`. Raises `StoreSetupError`."""
    try:
        _prepare(path)
    except OSError as error:  # Names that are too long, circles of links: whatever no path may be.
        raise StoreSetupError(
            f"no store can lie at {path}: {error.strerror}", hint="give storage.url another path"
        ) from error


def _prepare(path: Path) -> None:
    directory = path.parent
    _make_last(directory)
    if _MOUNTS.exists():
        refuse_network(path, filesystem_of(directory.resolve(), _MOUNTS.read_text()))
    if path.is_dir():
        raise StoreSetupError(f"{path} is a directory", hint="storage.url names a file")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StoreSetupError(
            f"cannot write in {directory}", hint="SQLite keeps files beside the database: allow writing there"
        )
    with contextlib.suppress(FileNotFoundError):
        _refuse_foreign(path, path.stat())


def refuse_network(path: Path, filesystem: str) -> None:
    """Raise `StoreSetupError` where the file system is one of the network."""
    if filesystem in NETWORK_FILESYSTEMS:
        raise StoreSetupError(
            f"{path} lies on a network file system ({filesystem}), where SQLite cannot keep its promises",
            hint="use a local disk, or storage.url postgresql://...",
        )


def filesystem_of(directory: Path, mountinfo: str) -> str:
    """Return the file system type that holds `directory`, from the text of /proc/self/mountinfo.

    Fields as in proc(5): the mount point is the fifth, the type follows the lone hyphen.
    """
    best, found = -1, ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount = Path(fields[4].replace("\\040", " "))
        depth = len(mount.parts)
        if depth >= best and directory.is_relative_to(mount):
            best, found = depth, right.split()[0]
    return found


def _make_last(directory: Path) -> None:
    if directory.is_dir():
        return
    if directory.exists():
        raise StoreSetupError(f"{directory} is a file, and no directory", hint="mend storage.url")
    try:
        directory.mkdir(mode=0o700)
    except OSError as error:
        raise StoreSetupError(
            f"the directory {directory} is missing and cannot be made: {error.strerror}",
            hint="make it, or mend storage.url",
        ) from error


def _refuse_foreign(path: Path, found: os.stat_result) -> None:
    if not os.access(path, os.R_OK | os.W_OK):
        reason = "is read-only" if found.st_uid == os.geteuid() else f"belongs to user {found.st_uid}"
        raise StoreSetupError(f"{path} {reason}", hint="run as its owner, or allow writing")
