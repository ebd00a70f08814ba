"""Decision cases: a request, the policy it meets and what must come of it; the format of `vectors/v0`.

Policies are tested with them (`lumyn policy test`). Pure; a case that cannot be run is a finding too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from gateway.engine.decide import Decision, EngineSettings, Stamp, decide
from gateway.engine.evaluate import evaluate
from gateway.engine.facts import derive
from gateway.kernel.canon import canonical_bytes, sha256_digest
from gateway.kernel.errors import GatewayError
from gateway.kernel.types import JSON, JSONObject, Mode
from gateway.memory.types import NO_ADVICE, MemoryAdvice, MemoryHit
from gateway.policy.builtin import PACKS, SUPPORT, built_in
from gateway.policy.compile import CompiledPolicy, compile_policy
from gateway.policy.select import PolicySet
from gateway.records.request import validate_request

STAMP: Final = Stamp("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1_700_000_000_000)
"""Every case is decided at 2023-11-14T22:13:20Z under this id, so that its record has one digest."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    decision: Decision
    record: JSONObject
    policy: CompiledPolicy
    advice: MemoryAdvice


def case_faults(case: JSONObject, policy: CompiledPolicy) -> Iterator[str]:
    """Yield a line for each expectation of a case that does not hold.

    `policy` decides where the case names none of its own (by the short name of a built-in, or as a whole
    document).
    """
    name = case.get("name", "a case without a name")
    try:
        outcome = _run(case, policy)
    except (GatewayError, KeyError, TypeError, ValueError) as error:
        yield f"{name}: cannot be run: {error}"
        return
    expected = case.get("expect")
    if not isinstance(expected, dict) or not expected:
        yield f"{name}: expects nothing"
        return
    for member, wanted in expected.items():
        look = _LOOKS.get(member)
        if look is None:
            yield f"{name}: nothing is known of `{member}`; use {', '.join(_LOOKS)}"
        elif (found := look(outcome)) != wanted:
            yield f"{name}: {member} is {found!r}, and {wanted!r} was expected"


def _run(case: JSONObject, policy: CompiledPolicy) -> _Outcome:
    decides = _policy(case, policy)
    settings = dict(case.get("settings", {}))
    if "mode" in settings:
        settings["mode"] = Mode(settings["mode"])
    advice = _advice(case.get("memory"))
    request = validate_request(case["request"])
    decision = decide(
        request, policies=PolicySet(decides), advice=advice, settings=EngineSettings(**settings), stamp=STAMP
    )
    return _Outcome(decision, decision.record, decides, advice)


def _policy(case: JSONObject, policy: CompiledPolicy) -> CompiledPolicy:
    named: JSON = case.get("policy")
    if named is None:
        return policy
    if isinstance(named, dict):
        return compile_policy(canonical_bytes(named), source="the case's policy")
    path = SUPPORT if named == "support" else f"policies/packs/{named}.v0.yml"
    text = built_in(path)
    if text is None:
        raise ValueError(f"no built-in policy is called {named!r}; there are {SUPPORT}, {', '.join(PACKS)}")
    return compile_policy(text, source=path)


def _advice(memory: JSON) -> MemoryAdvice:
    if memory is None:
        return NO_ADVICE
    hits = tuple(MemoryHit(**hit) for hit in memory["hits"])
    return MemoryAdvice(memory["failure_score"], hits, memory["snapshot"])


def _errors(outcome: _Outcome) -> list[str]:
    facts = derive(outcome.record["request"], outcome.advice.failure_score)
    faults = evaluate(outcome.policy, outcome.policy.plan(facts.action_type), facts).faults
    return sorted({fault.field for fault in faults})


def _rules(outcome: _Outcome) -> list[JSONObject]:
    rows = outcome.record["matched_rules"]
    return [{name: row[name] for name in ("rule_id", "stage", "effect")} for row in rows]


_LOOKS: Final[dict[str, Callable[[_Outcome], Any]]] = {
    "verdict": lambda outcome: outcome.record["verdict"],
    "reason_codes": lambda outcome: outcome.record["reason_codes"],
    "matched_rules": _rules,
    "queries": lambda outcome: outcome.record["queries"],
    "errors": _errors,
    "mode": lambda outcome: outcome.record["policy"]["mode"],
    "forwardable": lambda outcome: outcome.decision.forwardable,
    "uncertainty_score": lambda outcome: outcome.record["risk_signals"]["uncertainty_score"],
    "inputs_digest": lambda outcome: outcome.decision.inputs_digest,
    "record_digest": lambda outcome: sha256_digest(outcome.decision.body),
}
