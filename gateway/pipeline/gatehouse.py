"""Decisions on what the gateway itself has found: a tool nobody offers, headers that contradict the body.

They are made by a policy of the gateway's own, `policies/gate.v0.yml`, so that each refusal is a record
like any other: canonical, chained, replayed. The finding stands in the evidence as `gate_finding`; no
argument of a call can pass for it, because the configuration may not map that key.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import Final

from gateway.engine.decide import Decision, EngineSettings, Stamp, decide
from gateway.kernel.types import JSONObject, Mode
from gateway.memory.types import NO_ADVICE
from gateway.pipeline.policies import policy_entries
from gateway.policy.builtin import GATE, built_in
from gateway.policy.compile import compile_policy
from gateway.policy.select import PolicySet
from gateway.records.types import PolicyEntry

_SETTINGS: Final = EngineSettings(mode=Mode.ENFORCE)
"""Advisory mode is about policies: what contradicts itself is not forwarded in any mode."""


class Finding(StrEnum):
    """What was found, in the words of the gate's policy."""

    TOOL_UNKNOWN = "tool_unknown"
    NOT_COVERED = "not_covered"
    DEFINITION_CHANGED = "definition_changed"
    ARGUMENTS_INVALID = "arguments_invalid"
    HEADER_MISMATCH = "header_mismatch"
    STATE_INVALID = "state_invalid"
    WITHDRAWN = "withdrawn"
    FIRST_SEEN = "first_seen"
    CHANGED = "changed"
    ACCEPTED = "accepted"
    OVERSIZED = "oversized"
    ANSWER_UNREADABLE = "answer_unreadable"


@cache
def gate_policies() -> PolicySet:
    """Return the gate's policy, compiled once."""
    text = built_in(GATE)
    assert text is not None
    return PolicySet(compile_policy(text, source=GATE))


def gate_entries(at_ms: int) -> list[PolicyEntry]:
    """Return the entry that keeps the gate's policy, so that its decisions can be replayed."""
    return policy_entries(gate_policies(), at_ms)


def decide_finding(
    request: JSONObject, finding: Finding, stamp: Stamp, *, extensions: JSONObject | None = None
) -> Decision:
    """Return the decision on a finding; the request's own evidence is kept beside it."""
    evidence = {**(request.get("evidence") or {}), "gate_finding": finding.value}
    return decide(
        {**request, "evidence": evidence},
        policies=gate_policies(),
        advice=NO_ADVICE,
        settings=_SETTINGS,
        stamp=stamp,
        extensions=extensions,
    )
