"""The README is executed: its commands exist, its console examples answer, its demonstration runs."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.kit.gateways import running_gateway

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = (ROOT / "README.md").read_text()
COMMANDS: Final = re.findall(r"^\$ (.+)$", TEXT, flags=re.MULTILINE)


def test_every_make_target_that_is_named_exists() -> None:
    """Each `make X` of the README is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", TEXT)) - {"and"}
    assert named
    assert named <= targets


def test_every_path_that_is_named_exists() -> None:
    """Each file and folder that the README puts in code marks is there."""
    named = re.findall(r"`((?:docs|policies|gateway|examples|schemas|vectors)/[\w/.-]*)`", TEXT)
    assert len(named) > 8
    assert not [path for path in named if not (ROOT / path).exists()]


async def test_the_console_examples_answer(tmp_path: Path) -> None:
    """Each curl of the README gets the answer that it says, on a gateway with its defaults."""
    curls = [command for command in COMMANDS if command.startswith("curl")]
    assert len(curls) == 5
    async with running_gateway(tmp_path) as one:
        for command in curls:
            told = command.replace("127.0.0.1:8080", f"127.0.0.1:{one.port}")
            told = told.replace("127.0.0.1:8081", f"127.0.0.1:{one.admin_port}")
            status = await _status_of(shlex.split(told))
            assert status == (404 if re.search(r"decisions/\w{26}", command) else 200), command


async def _status_of(command: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, "-o", os.devnull, "-w", "%{http_code}", stdout=subprocess.PIPE, cwd=ROOT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return int(out)


def test_the_demonstration_shows_decisions() -> None:
    """`make demo` shows what the README shows; its spike is played by tests/integration/test_loadtest.py."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.live_demo", "--without-spike"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for shown in (
        "chat to llama-8b: LLM_REQUEST_OK",
        "asks for the tool call: refund",
        "LLM_TOKENS_OVER_LIMIT",
        "REFUND_SMALL_LOW_RISK",
        "REFUND_OVER_ESCALATION_LIMIT",
        "fate complete",
    ):
        assert shown in done.stdout
