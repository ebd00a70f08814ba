"""The example of docs/tools.md runs as it is: one of two parallel calls arrives, the other does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_agent_does_what_is_allowed_and_nothing_else() -> None:
    """The refund is done once; the closing is explained, on record, and never reached the agent."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.tool_agent"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert "done: ['refund o-17 12.5']" in lines
    assert [line for line in lines if line.startswith("agent:")] == ["agent: issue_refund -> refunded"]
    assert any("`close_account` was not permitted" in line for line in lines)
    records = [line.split()[1:3] for line in lines if line.startswith("record:")]
    assert records == [
        ["TRUST", "llm.chat_completion"],
        ["TRUST", "shop.refund"],
        ["ABSTAIN", "shop.close_account"],
        ["TRUST", "llm.chat_completion"],
    ]
