"""`lumyn completion`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(lumyn, shell: str) -> None:
    """The script asks `lumyn` by the variable that it answers to."""
    told = lumyn("completion", shell)
    assert told.code == 0
    assert "_LUMYN_COMPLETE" in told.out


def test_another_shell_is_wrong_usage(lumyn) -> None:
    """An unknown shell ends with 2 and names the known ones."""
    told = lumyn("completion", "cmd")
    assert told.code == 2
    assert "bash, zsh, fish" in told.err


def test_a_shell_is_answered() -> None:
    """What bash asks while one types `lumyn policy b` is answered with backtest."""
    code = "import sys; sys.argv = ['lumyn']\nfrom gateway.cli.main import main\nmain()"
    asked = {"COMP_WORDS": "lumyn policy b", "COMP_CWORD": "2", "_LUMYN_COMPLETE": "complete_bash"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(
        run, env=os.environ | asked, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["backtest"]
