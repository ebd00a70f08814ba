"""From matched rules to one verdict: precedence, reasons, questions, obligations, uncertainty.

What depends on the matched rules alone is combined once per set of rules and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gateway.engine.evaluate import Evaluation, strictest
from gateway.engine.facts import Facts
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.types import JSON, JSONObject, Verdict
from gateway.policy.operators import is_missing
from gateway.policy.plan import CompiledRule

SIMILAR_FAILURE: Final = 0.35
"""From this score on a remembered failure makes a verdict less certain (contract 1.6; no policy's limit)."""
_UNCERTAINTY: Final = {(False, False): 0.2, (True, False): 0.4, (False, True): 0.5, (True, True): 0.7}
"""By (verdict is QUERY, a similar failure is remembered): written out, because 0.2 + 0.2 + 0.3 is a sum
of doubles."""


_SAID: Final = {
    Verdict.TRUST: "is trusted",
    Verdict.ABSTAIN: "is refused",
    Verdict.ESCALATE: "is held for a person",
    Verdict.QUERY: "is held until what is missing is known",
}
NAMED_MAX: Final = 5
"""Rules named in the one sentence of the summary; the details name them all."""


@dataclass(frozen=True, slots=True)
class Combined:
    """What a set of matched rules comes to, with the canonical bytes of its parts of the record."""

    verdict: Verdict
    reason_codes: tuple[str, ...]
    outcome: str
    """One plain clause, to follow the action's type: what happens to it, and which rules say so."""
    rows: bytes
    codes: bytes
    obligations: bytes


@lru_cache(maxsize=1024)
def combine(matched: tuple[CompiledRule, ...]) -> Combined:
    """Return what the matched rules come to. Losers keep their reasons, and obligations are never dropped."""
    verdict = strictest(matched)
    codes = tuple(code for rule in matched for code in rule.reason_codes)
    return Combined(
        verdict=verdict,
        reason_codes=codes,
        outcome=_outcome(verdict, [rule for rule in matched if rule.effect is verdict]),
        rows=b"[%b]" % b",".join([rule.row for rule in matched]),
        codes=canonical_bytes(list(codes)),
        obligations=b"[%b]" % b",".join([rule.obligation_rows for rule in matched if rule.obligation_rows]),
    )


def _outcome(verdict: Verdict, deciding: list[CompiledRule]) -> str:
    named = ", ".join([f"{rule.rule_id} ({', '.join(rule.reason_codes)})" for rule in deciding[:NAMED_MAX]])
    more = len(deciding) - NAMED_MAX
    return f"{_SAID[verdict]}: {named}{f' and {more} more' if more > 0 else ''}."


def uncertainty(verdict: Verdict, failure_score: float) -> float:
    """Return the uncertainty score of contract 1.6."""
    return _UNCERTAINTY[verdict is Verdict.QUERY, failure_score >= SIMILAR_FAILURE]


def open_queries(
    verdict: Verdict, evaluation: Evaluation, facts: Facts, request: JSONObject
) -> list[JSONObject]:
    """Return the questions of a QUERY: those of the matched rules whose field is missing or unusable.

    Required evidence that is missing and that no rule asks for is asked for plainly; so a policy needs
    not repeat its required evidence as queries.
    """
    if verdict is not Verdict.QUERY:
        return []
    faulty = {fault.field for fault in evaluation.faults}
    asked = [
        {"field": field, "question": question}
        for rule in evaluation.matched
        for field, question in rule.queries
        if field in faulty or is_missing(_look_up(field, facts, request))
    ]
    fields = {query["field"] for query in asked}
    if any(rule.requirement for rule in evaluation.matched):
        for key in evaluation.missing:
            field = f"evidence.{key}"
            if field not in fields:
                asked.append({"field": field, "question": f"What is the {key.replace('_', ' ')}?"})
    return asked


def _look_up(field: str, facts: Facts, request: JSONObject) -> JSON:
    """Return the value that a query's field names; evidence keys are flat, the rest is a path."""
    if field.startswith("evidence."):
        return facts.evidence.get(field.removeprefix("evidence."))
    value: JSON = request
    for step in field.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
