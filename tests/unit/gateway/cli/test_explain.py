"""`lumyn explain`."""

from __future__ import annotations


def test_explain_names_the_rules(lumyn, decision_id: str) -> None:
    """The lines of the contract, in plain words."""
    lines = lumyn("explain", decision_id).out.splitlines()
    assert lines[0] == f"decision_id: {decision_id}"
    assert lines[2] == "verdict: TRUST"
    assert "  - TRUST_PATHS:R050 effect=TRUST reasons=[REFUND_SMALL_LOW_RISK]" in lines
    markdown = lumyn("explain", decision_id, "--markdown").out
    assert markdown.startswith(f"# Lumyn decision `{decision_id}`\n")
    assert len(markdown.splitlines()) <= 40
