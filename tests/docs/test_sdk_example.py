"""The library example of the contract, as the README prints it, runs as it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.kit.refunds import refund

README = Path("README.md")
EXAMPLE = """\
from lumyn import LumynConfig, decide

record = decide(request_dict, config=LumynConfig(store_path=".lumyn/lumyn.db"))
record["verdict"]        # "TRUST" | "ABSTAIN" | "ESCALATE" | "QUERY"
"""
"""Verbatim from the contract, part C."""


def test_the_readme_prints_the_example_of_the_contract() -> None:
    """The README has the example word for word."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    assert EXAMPLE in blocks


def test_the_example_runs_verbatim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory it decides, and the workspace holds the record."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"request_dict": refund()}
    exec(compile(EXAMPLE, "README.md", "exec"), names)
    assert names["record"]["verdict"] == "TRUST"
    assert (tmp_path / ".lumyn/lumyn.db").exists()
