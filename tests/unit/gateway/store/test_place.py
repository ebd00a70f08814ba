"""Where a store may not be kept, each reason is one clear line with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.kernel.errors import StoreSetupError
from gateway.store.place import NETWORK_FILESYSTEMS, filesystem_of, prepare, refuse_network

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw shared:9 master:2 - nfs4 server:/x rw
31 30 0:41 / /srv/local\\040disk rw - xfs /dev/sdb1 rw
broken line
32 22 0:42 / /mnt rw - fuse.sshfs there:/ rw
33 22 0:43 / /mnt rw - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/", "ext4"),
        ("/home/x", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/deep/er", "nfs4"),
        ("/srv/local disk/x", "xfs"),
        ("/srvother", "ext4"),
        ("/mnt/x", "ext4"),
    ],
)
def test_the_deepest_and_latest_mount_counts(directory: str, kind: str) -> None:
    """A directory lies on the mount that is nearest to it, and the last of two in one place."""
    assert filesystem_of(Path(directory), MOUNTS) == kind


def test_no_mount_is_no_kind() -> None:
    """Where nothing can be said, nothing is refused."""
    assert filesystem_of(Path("/x"), "") == ""
    refuse_network(Path("/x"), "")


@pytest.mark.parametrize("kind", sorted(NETWORK_FILESYSTEMS))
def test_a_network_file_system_is_refused(kind: str) -> None:
    """Each of them, with PostgreSQL as the way out."""
    with pytest.raises(StoreSetupError, match="network file system") as caught:
        refuse_network(Path("/x/lumyn.db"), kind)
    assert "postgresql" in str(caught.value.hint)


def test_one_missing_directory_is_made_and_only_for_us(tmp_path: Path) -> None:
    """The last directory of a path is made, readable by nobody else; two levels are a mistake."""
    prepare(tmp_path / "new" / "lumyn.db")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    with pytest.raises(StoreSetupError, match="is missing and cannot be made"):
        prepare(tmp_path / "a" / "b" / "lumyn.db")


def test_a_directory_is_no_store(tmp_path: Path) -> None:
    """A path that is a directory is refused."""
    with pytest.raises(StoreSetupError, match="is a directory"):
        prepare(tmp_path)


@pytest.mark.parametrize(("denied", "word"), [("directory", "cannot write in"), ("file", "is read-only")])
def test_what_may_not_be_written_is_said(
    tmp_path: Path, denied: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory or file without the right to write (root has every right, so the answer is made up)."""
    path = tmp_path / "lumyn.db"
    path.touch()
    refused = tmp_path if denied == "directory" else path
    monkeypatch.setattr("gateway.store.place.os.access", lambda place, _: Path(place) != refused)
    with pytest.raises(StoreSetupError, match=word) as caught:
        prepare(path)
    assert caught.value.hint


def test_somebody_elses_file_names_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user is said to be theirs."""
    path = tmp_path / "lumyn.db"
    path.touch()
    monkeypatch.setattr("gateway.store.place.os.access", lambda place, _: Path(place) != path)
    monkeypatch.setattr("gateway.store.place.os.geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StoreSetupError, match="belongs to user"):
        prepare(path)
