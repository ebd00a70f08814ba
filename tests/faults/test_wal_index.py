"""B4.5, one more place: the disk is full at the very moment when the index of the WAL grows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson

from gateway.store.verify import verify_sqlite

FIRST_PIECE_WRITES = 8
"""SQLite extends the index page by page, by a byte at the end of each; the ninth is in the second piece."""


def test_no_room_for_the_index_is_no_final_failure(strace: str, tmp_path: Path) -> None:
    """The commit is refused, and as with any full disk the store goes on by itself; nothing is doubled."""
    database = tmp_path / "lumyn.db"
    inject = f"pwrite64:error=ENOSPC:when={FIRST_PIECE_WRITES + 1}..{FIRST_PIECE_WRITES + 2}"
    done = subprocess.run(
        [
            *(strace, "-f", "-qq", "-o", "/dev/null", "-P", f"{database}-shm"),
            *("-e", "trace=pwrite64", "-e", f"inject={inject}"),
            *(sys.executable, "-m", "tests.kit.longwal", database),
        ],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    report = orjson.loads(done.stdout)
    assert "SHMSIZE" in report["reason"], "the fault was not met: this test tests nothing"
    assert not report["fatal"]
    assert report["went_on"]
    found = verify_sqlite(database)
    assert found.faults == ()
    assert found.records == report["stored"]
