"""A mark of life is held by one, given up by its owner, and dropped by the kernel with its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gateway.store.live import claim, marks_directory


def test_a_living_writer_is_told_from_a_dead_one(tmp_path: Path) -> None:
    """While a mark is held nobody else gets it, not even this process; afterwards anybody does."""
    database = tmp_path / "lumyn.db"
    mark = claim(database, "W")
    assert mark is not None
    assert claim(database, "W") is None
    other = claim(database, "V")
    assert other is not None
    mark.release()
    mark.release()
    again = claim(database, "W")
    assert again is not None
    again.release()
    other.release()
    assert list(marks_directory(database).iterdir()) == []


def test_a_killed_process_holds_no_mark(tmp_path: Path) -> None:
    """However a process dies, its mark is free at once, though its file is still there."""
    database = tmp_path / "lumyn.db"
    code = (
        "import os, pathlib; from gateway.store.live import claim; "
        f"claim(pathlib.Path({str(database)!r}), 'W'); print('held', flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.stdout, done.returncode) == ("held\n", -9)
    assert len(list(marks_directory(database).iterdir())) == 1
    mark = claim(database, "W")
    assert mark is not None
    mark.release()


def test_only_its_owner_sees_the_marks(tmp_path: Path) -> None:
    """The directory is nobody else's business."""
    mark = claim(tmp_path / "lumyn.db", "W")
    assert mark is not None
    assert marks_directory(tmp_path / "lumyn.db").stat().st_mode & 0o077 == 0
    mark.release()
