"""The MCP page and its example say what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gateway.config import Config
from gateway.policy.document import read_document

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/mcp.md").read_text()


def test_the_example_shows_both_revisions() -> None:
    """It ends by itself; the shop did what was let through, each thing once, and nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.mcp_gate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for shown in (
        "revision 2025-11-25",
        "revision 2026-07-28",
        "tools: ['refund', 'close_account']",
        "Approval pending",
        "waits for the approval of an operator",
        "How did the customer confirm it?",
        "error -32602: Unknown tool: wipe",
        "tools: ['close_account']",
        "TOOL_DEFINITION_CHANGED",
    ):
        assert shown in done.stdout, shown
    did = done.stdout.rpartition("what the shop really did: ")[2].strip()
    assert did == str(
        [
            "refund O-2025-11-25 20",
            "refund O-2025-11-25 500",
            "refund O-2026-07-28 20",
            "refund O-2026-07-28 500",
            "close O-2026-07-28",
        ]
    )


def test_the_configuration_of_the_page_is_one() -> None:
    """What is printed there loads."""
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    value = read_document(text.replace("${LUMYN_MCP_SECRET}", "s" * 32).encode(), source="page").value
    [server] = Config.model_validate(value).mcp.servers
    assert server.tools[0].action == "shop.refund"


def test_the_commands_of_the_page_are_there() -> None:
    """Each is in the page of the command line."""
    commands = re.findall(r"^\$ (lumyn mcp pins \w+)", PAGE, flags=re.MULTILINE)
    assert len(commands) == 3
    manual = (ROOT / "docs/cli.md").read_text()
    assert all(f"`{command}" in manual for command in commands)
