"""What a tool call is as an action: its type, evidence and amount, out of the tool's name and arguments.

The same for tool calls inside a model's answer and for MCP. What is not mapped never enters a request or a
record; a number that is mapped must be one that a record can hold exactly, or the call is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

import orjson

from gateway.kernel.amounts import USD, is_amount
from gateway.kernel.bounds import MAPPED_EVIDENCE_BYTES_MAX
from gateway.kernel.errors import InvalidRequestError
from gateway.kernel.parse import Unfit
from gateway.kernel.pointer import resolve
from gateway.kernel.types import JSON, JSONObject

_NOT_IN_TYPE: Final = re.compile(r"[^a-z0-9_]+")
_PATTERN_CHARS: Final = frozenset("*?[")
_ABSENT: Final = object()
_CURRENCY_CHARS: Final = 3
_FITTED_CHARS_MAX: Final = 128
"""Of a tool's name in an action type: names of foreign tools are as long as somebody likes."""


@dataclass(frozen=True, slots=True)
class AmountRule:
    """Where the amount stands. `currency` is a code of three characters, or a pointer as `value` is."""

    value: str
    currency: str = USD


@dataclass(frozen=True, slots=True)
class ToolRule:
    """How the calls of one tool, or of those that a shell-style pattern names, become actions."""

    tool: str
    action_type: str
    evidence: Mapping[str, str] = field(default_factory=dict)
    """JSON pointers into the arguments, by the evidence key that each one fills."""
    amount: AmountRule | None = None

    @property
    def pattern(self) -> bool:
        """True where `tool` names several."""
        return not _PATTERN_CHARS.isdisjoint(self.tool)


@dataclass(frozen=True, slots=True)
class MappedCall:
    """A tool call as far as policies know it."""

    action_type: str
    evidence: JSONObject
    amount: JSONObject | None
    """As `action.amount` of a request; None where none is mapped or the arguments hold none."""


class ToolMap:
    """The rules of one place of the configuration: names first, then patterns in their order."""

    __slots__ = ("_named", "_patterns", "_prefix")

    def __init__(self, rules: Sequence[ToolRule], *, prefix: str) -> None:
        """Take the rules, and what the action type of a tool that none names begins with: `tool.`."""
        self._named = {rule.tool: rule for rule in rules if not rule.pattern}
        self._patterns = tuple(rule for rule in rules if rule.pattern)
        self._prefix = prefix

    def rule_of(self, tool: str) -> ToolRule | None:
        """Return the rule of a tool, or None where none names it."""
        found = self._named.get(tool)
        if found is not None:
            return found
        return next((rule for rule in self._patterns if fnmatchcase(tool, rule.tool)), None)

    def action_type(self, tool: str) -> str:
        """Return the action type of a tool: as mapped, else its name made to fit behind the prefix."""
        rule = self.rule_of(tool)
        return fitted(self._prefix, tool) if rule is None else rule.action_type

    def call(self, tool: str, arguments: JSONObject) -> MappedCall:
        """Return what a call is as an action. `arguments` are as `parse_tool_json` reads them.

        A member that is not there gives no evidence: to ask for it is the policy's business. Raises
        InvalidRequestError, with a pointer into the arguments, for a mapped value that no record can hold.
        """
        rule = self.rule_of(tool)
        if rule is None:
            return MappedCall(fitted(self._prefix, tool), {}, None)
        found = {key: _at(arguments, pointer) for key, pointer in rule.evidence.items()}
        evidence = {key: value for key, value in found.items() if value is not _ABSENT}
        _check_size(evidence)
        return MappedCall(rule.action_type, evidence, _amount(rule.amount, arguments))


def fitted(prefix: str, name: str) -> str:
    """Return an action type for a name that nobody mapped: lower case, an underscore for whatever may not be.

    Two names may fit alike (`get-user`, `get_user`): policies that must tell them apart map them, or read
    `action.target.resource_id`, which is the name itself.
    """
    return f"{prefix}{_NOT_IN_TYPE.sub('_', name[:_FITTED_CHARS_MAX].lower()) or '_'}"


def _amount(rule: AmountRule | None, arguments: JSONObject) -> JSONObject | None:
    if rule is None or (value := _at(arguments, rule.value)) is _ABSENT or value is None:
        return None
    if not is_amount(value):
        raise InvalidRequestError(
            f"{rule.value} must be an amount: a number that is not negative", pointer=rule.value
        )
    if not rule.currency.startswith("/"):
        return {"value": value, "currency": rule.currency}
    currency = _at(arguments, rule.currency)
    if currency is _ABSENT or currency is None:
        return {"value": value}
    if not isinstance(currency, str) or len(currency) != _CURRENCY_CHARS:
        raise InvalidRequestError(
            f"{rule.currency} must be a currency code of three characters, such as USD", pointer=rule.currency
        )
    return {"value": value, "currency": currency}


def _at(arguments: JSONObject, pointer: str) -> JSON:
    try:
        value = resolve(arguments, pointer)
    except KeyError:
        return _ABSENT
    _check_fit(value, pointer)
    return value


def _check_size(evidence: JSONObject) -> None:
    if len(orjson.dumps(evidence)) > MAPPED_EVIDENCE_BYTES_MAX:
        raise InvalidRequestError(
            f"the mapped arguments are over {MAPPED_EVIDENCE_BYTES_MAX} bytes",
            hint="send less, or have the operator map fewer arguments",
        )


def _check_fit(value: JSON, pointer: str) -> None:
    """Refuse what no record can hold, at any depth; level by level, because arguments nest deep."""
    level = [value]
    while level:
        below: list[JSON] = []
        for item in level:
            kind = type(item)
            if kind is Unfit:
                raise InvalidRequestError(f"{pointer}: {item.reason}", pointer=pointer, hint=item.hint)
            if kind is dict:
                below += item.values()
            elif kind is list:
                below += item
        level = below
