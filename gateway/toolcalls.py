"""Joins what judges tool calls inside answers, as configured: the switch, the map of tools, approvals."""

from __future__ import annotations

from gateway.config import Config
from gateway.kernel.clock import Clock
from gateway.kernel.ids import IdSource
from gateway.pipeline.approvals import Approvals, Terms
from gateway.pipeline.tooljudge import ToolDesk, ToolSettings
from gateway.store.port import Store
from gateway.telemetry.metrics import Metrics
from gateway.wire.toolmap import ToolMap

_PREFIX = "tool."
"""Of the action type of a tool that nobody mapped."""


def tool_desk(config: Config, store: Store, clock: Clock, ids: IdSource, metrics: Metrics) -> ToolDesk | None:
    """Return what judges tool calls, or None where they pass: without tools it must be asked for."""
    calls = config.tool_calls
    if calls.gate == "off" or (calls.gate is None and not config.tools):
        return None
    settings = ToolSettings(
        strip=calls.on_refusal == "strip",
        decide_unknown=calls.unknown == "decide",
        brief=calls.explain == "reference",
        held_bytes_max=calls.held_bytes_max,
        held_s=calls.held_s,
        body_bytes_max=calls.body_bytes_max,
        terms=Terms(ask_ms=round(calls.ask_s * 1000), use_ms=round(calls.use_s * 1000)),
    )
    tools = ToolMap([tool.rule() for tool in config.tools], prefix=_PREFIX)
    return ToolDesk(settings, tools, store, Approvals(store, clock), clock, ids, metrics.tool_call)
