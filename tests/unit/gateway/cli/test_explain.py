"""`lumyn explain`."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.explain import _say_control


def test_explain_names_the_rules(lumyn, decision_id: str) -> None:
    """The lines of the contract, in plain words."""
    lines = lumyn("explain", decision_id).out.splitlines()
    assert lines[0] == f"decision_id: {decision_id}"
    assert lines[2] == "verdict: TRUST"
    assert "  - TRUST_PATHS:R050 effect=TRUST reasons=[REFUND_SMALL_LOW_RISK]" in lines
    markdown = lumyn("explain", decision_id, "--markdown").out
    assert markdown.startswith(f"# Lumyn decision `{decision_id}`\n")
    assert len(markdown.splitlines()) <= 40


def test_explain_says_what_the_controller_chose_and_from_what(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence an action, one line an option; nothing where nobody governed."""
    option = plain_option()
    _say_control({"actions": [{"kind": "MODEL_SWITCHED", "reason": "switched a -> b"}], "options": [option]})
    _say_control(None)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["control:", "  - MODEL_SWITCHED: switched a -> b", "options:"]
    assert lines[3].endswith("cost=4 out: its breaker is open")
    assert len(lines) == 4


def plain_option() -> dict[str, Any]:
    """A line of the table."""
    return {
        "model": "a",
        "max_tokens": None,
        "utility": 1.0,
        "miss": 0.5,
        "ttft_s": 0.2,
        "cost_uusd": 4,
        "refused_by": "its breaker is open",
    }
