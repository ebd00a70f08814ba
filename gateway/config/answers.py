"""What can be configured of answers: how tool calls in them are gated, and which other paths pass unread."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from gateway.config.section import Part
from gateway.kernel import bounds
from gateway.wire.openai import Operation

_Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
_PATTERN: Final = re.compile(r"/v1(?:/(?:[A-Za-z0-9._~-]+|\*))+(?:/\*\*)?\Z|/v1/\*\*\Z")
_INTERPRETED: Final = frozenset(operation.path for operation in Operation if operation.path)


def _pattern(text: str) -> str:
    if not _PATTERN.match(text) or "/." in text:
        raise ValueError("write /v1/audio/* or /v1/files/**: `*` is one segment, `**` all that follow")
    if text in _INTERPRETED:
        raise ValueError(f"{text} is served by the gateway itself")
    return text


class ToolCallsConfig(Part):
    """What becomes of tool calls inside answers."""

    gate: Literal["on", "off"] | None = None
    on_refusal: Literal["strip", "error"] = "strip"
    unknown: Literal["refuse", "decide"] = "refuse"
    explain: Literal["reasons", "reference"] = "reasons"
    held_bytes_max: Annotated[int, Field(gt=0, le=1 << 26)] = bounds.TOOL_CALL_HELD_BYTES_MAX
    held_s: _Seconds = bounds.TOOL_CALL_HELD_S
    body_bytes_max: Annotated[int, Field(gt=0, le=1 << 28)] = bounds.TOOL_BODY_BYTES_MAX
    ask_s: _Seconds = bounds.APPROVAL_ASK_S
    use_s: _Seconds = bounds.APPROVAL_USE_S


class PassthroughConfig(Part):
    """Other paths of a backend that are decided and recorded, and not interpreted."""

    path: Annotated[str, Field(max_length=256), AfterValidator(_pattern)]
    methods: Annotated[
        tuple[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], ...], Field(min_length=1, max_length=5)
    ] = ("GET", "POST")
    backend: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    body_bytes_max: Annotated[int, Field(gt=0, le=1 << 30)] = bounds.LLM_BODY_BYTES_MAX
