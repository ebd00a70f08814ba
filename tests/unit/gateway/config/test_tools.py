"""Entries of mapped tools: what they become, and what they may not say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.tools import ToolConfig
from gateway.wire.toolmap import AmountRule, ToolRule

FULL: Any = {
    "name": "refund",
    "action": "support.refund",
    "evidence": {"ticket_id": "/ticket/id"},
    "amount": {"value": "/amount", "currency": "/currency"},
}


def test_an_entry_becomes_a_rule() -> None:
    """Every key arrives."""
    rule = ToolConfig.model_validate(FULL).rule()
    assert rule == ToolRule(
        "refund", "support.refund", {"ticket_id": "/ticket/id"}, AmountRule("/amount", "/currency")
    )


def test_the_least_entry() -> None:
    """A name and an action are enough; an amount is in US dollars unless it says otherwise."""
    assert ToolConfig.model_validate({"name": "x*", "action": "a.b"}).rule() == ToolRule("x*", "a.b")
    paid = {"name": "x", "action": "a.b", "amount": {"value": "/v"}}
    rule = ToolConfig.model_validate(paid).rule()
    assert rule.amount == AmountRule("/v", "USD")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"action": "refund"},
        {"action": "Support.refund"},
        {"action": "support.refund\n"},
        {"evidence": {"a": "ticket"}},
        {"evidence": {"read_only_hint": "/a"}},
        {"evidence": {"failure_similarity_score": "/a"}},
        {"amount": {"value": "amount"}},
        {"amount": {"value": "/amount", "currency": "usd"}},
        {"arguments": {}},
    ],
)
def test_what_an_entry_may_not_say(wrong: dict[str, Any]) -> None:
    """An argument may not pass for a fact of the gateway's own, and a typo is an error."""
    with pytest.raises(ValidationError):
        ToolConfig.model_validate({**FULL, **wrong})
