"""What a call says before any policy is asked: mapped arguments, a state that it brings back, what is wrong.

Pure. The first thing that is wrong is the finding; nothing behind it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import orjson

from gateway.kernel.bounds import MAPPED_EVIDENCE_BYTES_MAX, MCP_ARGUMENTS_BYTES_MAX
from gateway.kernel.errors import GatewayError, InvalidRequestError, ProtocolError
from gateway.kernel.types import JSON, JSONObject
from gateway.pipeline.gatehouse import Finding
from gateway.pipeline.pins import Pin
from gateway.proxy.mcp.ask import Ask
from gateway.wire.mcp.answers import APPROVAL_KEY, EVIDENCE_KEY, read_reply
from gateway.wire.mcp.revision import Era, check_arguments
from gateway.wire.mcp.state import Held, Sealer, changed_call, is_ours, refused_state
from gateway.wire.toolmap import MappedCall

_STATE: Final = "requestState"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was read of a call."""

    mapped: MappedCall
    held: Held | None = None
    """What the gateway sealed when it held this call before."""
    state_number: str | None = None
    """To be claimed with the decision: a state is used once."""
    answers: JSONObject = field(default_factory=dict)
    """Evidence that the client was asked for, from all rounds."""
    finding: Finding | None = None
    error: GatewayError | None = None
    """What the client is told of the finding; None leaves it to a tool result."""


class _FoundError(Exception):
    def __init__(self, finding: Finding, error: GatewayError | None = None) -> None:
        super().__init__(finding)
        self.finding = finding
        self.error = error


def inspect(ask: Ask, tool: str, pin: Pin, sealer: Sealer, *, now_ms: int) -> Inspection:
    """Return what a call of a tool in force says."""
    mapped = MappedCall(ask.server.tools.action_type(tool), {}, None)
    held: Held | None = None
    number: str | None = None
    if not ask.principal.may(mapped.action_type):
        return Inspection(mapped, finding=Finding.NOT_COVERED, error=unknown_tool(tool))
    try:
        mapped = _mapped(ask, tool)
        _check_mirrored(ask, pin)
        held, number = _opened(ask, tool, sealer, now_ms)
        answers = {} if held is None else _answers(ask, held)
    except _FoundError as found:
        return Inspection(mapped, held, number, finding=found.finding, error=found.error)
    return Inspection(mapped, held, number, answers)


def unknown_tool(tool: str) -> ProtocolError:
    """Return the error of a tool that is not there, or not for this caller: they are told apart by nobody."""
    return ProtocolError(f"Unknown tool: {tool[:128]}", code="MCP_TOOL_UNKNOWN")


def _mapped(ask: Ask, tool: str) -> MappedCall:
    arguments = ask.arguments
    if not isinstance(arguments, dict):
        raise _invalid("`arguments` must be an object")
    if ask.message.ambiguous is not None:
        raise _invalid(f"{ask.message.ambiguous}: the arguments hold a key twice, or nest too deep")
    if len(ask.text.arguments.encode()) > MCP_ARGUMENTS_BYTES_MAX:
        raise _invalid(f"the arguments are over {MCP_ARGUMENTS_BYTES_MAX} bytes")
    try:
        return ask.server.tools.call(tool, arguments)
    except InvalidRequestError as error:
        raise _invalid(error.message) from None


def _invalid(message: str) -> _FoundError:
    return _FoundError(Finding.ARGUMENTS_INVALID, ProtocolError(message, code="MCP_PARAMS_INVALID"))


def _check_mirrored(ask: Ask, pin: Pin) -> None:
    if ask.era is not Era.STATELESS:
        return
    try:
        check_arguments(ask.mirror, pin.mirrored, ask.arguments)
    except ProtocolError as error:
        raise _FoundError(Finding.HEADER_MISMATCH, error) from None


def _opened(ask: Ask, tool: str, sealer: Sealer, now_ms: int) -> tuple[Held | None, str | None]:
    state = ask.message.params.get(_STATE)
    if not isinstance(state, str) or not is_ours(state):
        return None, None
    try:
        if ask.era is not Era.STATELESS:
            raise refused_state()
        held, number = sealer.open(state, ask.binding(tool), now_ms=now_ms)
        if held.arguments_digest != (given := ask.text.arguments_digest({})):
            raise changed_call(held, given)
    except ProtocolError as error:
        raise _FoundError(Finding.STATE_INVALID, error) from None
    return held, number


def _answers(ask: Ask, held: Held) -> JSONObject:
    """Return the evidence of all rounds. Only what was asked for is taken."""
    key = EVIDENCE_KEY if held.asked else APPROVAL_KEY
    reply = read_reply(ask.message.params, key) if held.released_under is None else None
    if reply is None:
        return held.answers
    if not reply.accepted:
        raise _FoundError(Finding.WITHDRAWN)
    given = {name: reply.content[name] for name in held.asked if _is_plain(reply.content.get(name))}
    answers = {**held.answers, **given}
    if len(orjson.dumps(answers)) > MAPPED_EVIDENCE_BYTES_MAX:
        raise _invalid(f"the answers are over {MAPPED_EVIDENCE_BYTES_MAX} bytes")
    return answers


def _is_plain(value: JSON) -> bool:
    """A form gives texts, numbers and booleans; whatever else is there was not asked for."""
    return isinstance(value, str | int | float)
