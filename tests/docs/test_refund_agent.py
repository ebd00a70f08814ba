"""The refund agent of `examples/` runs as it stands, and its refund is executed exactly once."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.timeout(60)
def test_the_refund_agent_comes_to_one_execution() -> None:
    """QUERY, ESCALATE, a changed request refused, an approval, the execution, and its answer once more."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.refund_agent"],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line.split()[0] + " " + line.split()[1] for line in done.stdout.splitlines()]
    assert said == [
        "422 QUERY",
        "202 ESCALATE",
        "409 APPROVAL_MISMATCH:",
        "ann approves:",
        "201 EXECUTED",
        "201 REPLAYED",
        "the tool",
    ]
    assert done.stdout.endswith("the tool executed 1 refund of 250 USD\n")
