"""Prints the figures of the fault tests at the end of a run: what was tried, lost and caught."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.kit.figures import FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests noted."""
    if FIGURES:
        terminalreporter.section("durability figures")
        for figure in FIGURES:
            terminalreporter.line(figure)


@pytest.fixture(scope="session")
def strace() -> str:
    """The path of a strace that may trace here."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([program, "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("ptrace is not permitted here")
    return program
