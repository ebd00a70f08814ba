"""What is joined for tool calls, as configured."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.config import Config
from gateway.telemetry.metrics import Metrics
from gateway.toolcalls import tool_desk

TOOL = {"name": "x", "action": "a.b"}


def desk(**settings: Any) -> Any:
    """The desk of a configuration."""
    return tool_desk(Config.model_validate(settings), *[None] * 3, Metrics())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "gated"),
    [
        ({}, False),
        ({"tools": [TOOL]}, True),
        ({"tools": [TOOL], "tool_calls": {"gate": "off"}}, False),
        ({"tool_calls": {"gate": "on"}}, True),
    ],
)
def test_the_switch(settings: dict[str, Any], gated: bool) -> None:
    """On where there are tools, unless it is said."""
    assert (desk(**settings) is not None) is gated


def test_settings_arrive() -> None:
    """Each key has its place, seconds become milliseconds where approvals count in those."""
    calls = {"on_refusal": "error", "unknown": "decide", "explain": "reference", "ask_s": 2, "held_s": 3}
    settings = desk(tools=[TOOL], tool_calls=calls).settings
    assert (settings.strip, settings.decide_unknown, settings.brief) == (False, True, True)
    assert (settings.terms.ask_ms, settings.held_s) == (2000, 3)
    plain = desk(tools=[TOOL]).settings
    assert (plain.strip, plain.decide_unknown, plain.brief) == (True, False, False)


def test_tools_that_nobody_mapped_begin_with_tool() -> None:
    """So that a policy may name them all by their prefix."""
    tools = desk(tools=[TOOL]).tools
    assert (tools.action_type("x"), tools.action_type("y")) == ("a.b", "tool.y")
