"""`lumyn explain`."""

from __future__ import annotations

import pytest

from gateway.cli.explain import _say_control
from tests.unit.gateway.cli.test_why import line, part


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
    """One sentence, one line an action, the table; nothing where nobody governed."""
    control = part(actions=[{"kind": "MODEL_SWITCHED", "reason": "switched a -> b: a is slow"}])
    _say_control({"extensions": {"control": {**control, "options": [line("a", "its breaker is open")]}}})
    _say_control({})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "why: switched a -> b: a is slow; no cap on the answer; no wait."
    assert "  - MODEL_SWITCHED: switched a -> b: a is slow" in lines
    assert lines[-3] == "options:"
    assert lines[-1].split("\t")[1::12] == ["a", "its breaker is open"]


def test_explain_says_where_there_was_nothing_to_choose(capsys: pytest.CaptureFixture[str]) -> None:
    """Without pressure no table is stored, and it says so."""
    _say_control({"extensions": {"control": part(actions=[{"kind": "PASSED", "reason": "passed to b"}])}})
    assert capsys.readouterr().out.splitlines()[-1] == "options: not stored, nothing pressed"
