"""Child processes: started, listened to, stopped; what goes wrong is said in their own words."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from loadtest import stage as stages
from loadtest import world
from loadtest.stage import Child, Ports, StageError, stage

CHILD = """
import os, sys, time
print("listening at", sys.argv[1], flush=True)
print("named", os.environ.get("LUMYN_STORAGE_URL", "nothing"), flush=True)
time.sleep(60)
"""
FAILING = """
import sys
print("error: cannot listen on port 1", file=sys.stderr)
print("hint: take another", file=sys.stderr)
sys.exit(2)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module that a child can run by its name."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


async def test_a_child_says_where_it_listens(module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are read until everything is known; it is alone with its configuration, and stopped."""
    monkeypatch.setenv("LUMYN_STORAGE_URL", "sqlite:elsewhere.db")
    child = Child("gateway", [module("good", CHILD), "1234"], tmp_path)
    found = await child.start({"port": r"listening at (\d+)", "named": r"named (\w+)"})
    assert found == {"port": "1234", "named": "nothing"}
    assert child.running
    await child.stop()
    assert not child.running
    await child.stop()


async def test_a_child_that_does_not_start_says_why(module, tmp_path: Path) -> None:
    """The error that it wrote, and what to do about ports."""
    child = Child("gateway", [module("bad", FAILING)], tmp_path)
    with pytest.raises(StageError, match="the gateway did not start: cannot listen on port 1") as caught:
        await child.start({"port": r"listening at (\d+)"})
    assert "--port" in caught.value.hint
    assert not child.running


async def test_a_child_that_says_nothing_is_given_up(
    module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while it is stopped; its log is named."""
    monkeypatch.setattr(stages, "START_S", 0.5)
    child = Child("simulator", [module("mute", "import time; time.sleep(60)")], tmp_path)
    with pytest.raises(StageError, match=r"did not start within .*simulator\.log"):
        await child.start({"port": r"(\d+)"})
    assert not child.running
    assert child.last_words() == "it left no word"


async def test_a_child_that_does_not_listen_to_reason_is_killed(
    module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run never waits for ever for one of its processes."""
    monkeypatch.setattr(stages, "STOP_S", 0.3)
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"
    child = Child("gateway", [module("deaf", deaf)], tmp_path)
    await child.start({"up": "(up)"})
    await child.stop()
    assert not child.running


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Before anything is started."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StageError, match="cannot write into"):
        async with stage(tmp_path / "file", world.cluster(), Ports()):
            pytest.fail("the stage is open")


def test_a_relative_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The children work inside it: a path relative to our directory would name nothing there."""
    monkeypatch.chdir(tmp_path)
    folder, config = stages._prepare(Path("report/stage"), world.cluster())
    assert folder == tmp_path / "report/stage"
    assert config.is_absolute()
    assert config.exists()


def test_an_earlier_ledger_is_removed(tmp_path: Path) -> None:
    """Each arm begins with an empty one; whatever else lies there stays."""
    (tmp_path / stages.LEDGER).mkdir()
    (tmp_path / stages.LEDGER / "lumyn.db").write_text("old")
    (tmp_path / "mine.txt").write_text("keep")
    stages._prepare(tmp_path, world.cluster())
    assert not (tmp_path / stages.LEDGER).exists()
    assert (tmp_path / "mine.txt").exists()


def test_children_run_the_same_sources() -> None:
    """Wherever they are started: this checkout stands first on their path, and no LUMYN_ variable passes."""
    path = stages._environment()["PYTHONPATH"].split(os.pathsep)[0]
    assert Path(path) == Path(sys.modules["loadtest"].__file__ or "").resolve().parents[1]
    assert not [name for name in stages._environment() if name.startswith("LUMYN_")]
