"""Who lives and who does not, told by locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway.store.live import claim, marks_directory

DIES_AND_LEAVES_A_CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from gateway.store.live import claim
assert claim(Path("s.db"), "w") is not None
if not os.fork():
    os.close(1)
    sys.stdin.read()  # lives on until the test lets it go
    os._exit(0)
print("claimed", flush=True)
os._exit(1)
"""


def test_a_mark_is_held_once_and_given_back(tmp_path: Path) -> None:
    """While one holds it nobody else gets it, not even this process; released, its file is gone."""
    mark = claim(tmp_path / "s.db", "w")
    assert mark is not None
    assert claim(tmp_path / "s.db", "w") is None
    other = claim(tmp_path / "s.db", "x")
    assert other is not None
    other.release()
    mark.release()
    mark.release()
    assert list(marks_directory(tmp_path / "s.db").iterdir()) == []


def test_a_dead_process_is_dead_though_its_child_lives(tmp_path: Path) -> None:
    """A writer that dies leaves its mark to be claimed, even while a child that it forked goes on."""
    program = DIES_AND_LEAVES_A_CHILD.format(root=str(Path.cwd()))
    command = [sys.executable, "-W", "ignore", "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read() == b"claimed\n"
        assert process.wait(30) == 1
        mark = claim(tmp_path / "s.db", "w")
        assert mark is not None
        mark.release()
        process.stdin.close()


def test_a_child_lets_go_without_touching_the_mark(tmp_path: Path) -> None:
    """A forked child that releases what it inherited leaves the parent's lock and file as they are."""
    mark = claim(tmp_path / "s.db", "w")
    assert mark is not None
    child = os.fork()
    if not child:
        mark.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert claim(tmp_path / "s.db", "w") is None
    assert len(list(marks_directory(tmp_path / "s.db").iterdir())) == 1
    mark.release()
