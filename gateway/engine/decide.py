"""The decision: a validated request, policies and memory's advice in; a Decision Record out.

Pure: the id and the time are handed in, nothing is read or written, and no validated request makes it
raise. The record is written as canonical bytes piece by piece, because the request's bytes are needed
twice (in the record and under `inputs_digest`) and most other pieces are the policy's and known
beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import orjson

from gateway.engine.combine import Combined, combine, open_queries, uncertainty
from gateway.engine.evaluate import evaluate
from gateway.engine.explain import details
from gateway.engine.facts import derive, derived_bytes
from gateway.kernel.canon import canonical_bytes, own_bytes, sha256_digest
from gateway.kernel.clock import rfc3339
from gateway.kernel.hot import hot_dataclass
from gateway.kernel.types import STAGES, JSONObject, Mode, Stage, Verdict
from gateway.memory.types import NO_ADVICE, MemoryAdvice
from gateway.policy.compile import CompiledPolicy
from gateway.policy.plan import make_rule
from gateway.policy.select import PolicySet
from gateway.records.reasons import STORAGE_UNAVAILABLE
from gateway.records.redact import redact_request

ENGINE_VERSION: Final = "lumyn-engine.v0.1"
"""Changes whenever the same inputs could give other record bytes; replay needs the same one."""

_DETERMINISM: Final = canonical_bytes(
    {"engine_version": ENGINE_VERSION, "evaluation_order": [stage.value for stage in STAGES]}
)[1:-1]
_STORAGE_RULE: Final = make_rule(
    rule_id="STORAGE", stage=Stage.DEFAULT, effect=Verdict.ABSTAIN, reason_codes=(STORAGE_UNAVAILABLE,)
)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the configuration says of deciding."""

    mode: Mode | None = None
    """None leaves it to each policy's default."""
    redaction_profile: str = "default"
    """A floor: a request can only tighten it."""
    advisory_allowed: bool = False
    """Whether a request may ask for advisory mode."""


@hot_dataclass(frozen=True, slots=True)
class Stamp:
    """The identity of one decision: a ULID, and milliseconds since 1970 UTC."""

    decision_id: str
    at_ms: int


@hot_dataclass(frozen=True, slots=True)
class Decision:
    """A decision and its record; `body` is what is stored and hashed."""

    body: bytes
    """The canonical bytes of the `decision_record.v0`."""
    decision_id: str
    verdict: Verdict
    reason_codes: tuple[str, ...]
    action_type: str
    policy_hash: str
    mode: Mode
    inputs_digest: str
    dry_run: bool = False
    """The caller asked what would be decided: nothing is stored and nothing forwarded."""
    storable: bool = True
    """False for the ABSTAIN of a failing store: what is not recorded is not forwarded, in any mode."""

    @property
    def record(self) -> JSONObject:
        """The record as a value: read from `body` at each call, so that each caller owns its copy."""
        record: JSONObject = orjson.loads(self.body)
        return record

    @property
    def forwardable(self) -> bool:
        """True where the action may go on once its record is durable."""
        trusted = self.verdict is Verdict.TRUST or self.mode is Mode.ADVISORY
        return trusted and self.storable and not self.dry_run


@hot_dataclass(frozen=True, slots=True)
class Question:
    """Everything that a decision follows from, besides its stamp; a replay rebuilds it from a record."""

    request: JSONObject
    """As it goes into the record. Redaction takes from the context only, and no rule reads that."""
    policy: CompiledPolicy
    advice: MemoryAdvice
    mode: Mode
    extensions: JSONObject | None
    dry_run: bool
    own: bool = False
    """The request is one that `canon.own_bytes` spells."""


def decide(
    request: JSONObject,
    *,
    policies: PolicySet,
    advice: MemoryAdvice,
    settings: EngineSettings,
    stamp: Stamp,
    extensions: JSONObject | None = None,
    own: bool = False,
) -> Decision:
    """Return the decision on a validated `decision_request.v0`; never raises on one.

    A request whose evidence or extensions hold what no JSON can (the check of its shape does not look
    there; taking its digest does) is an `InvalidRequestError`.

    `extensions` are added to the record's own (`derived`, `dry_run`), which win on a clash of names.
    `own` says that the request was made by the gateway, of what `canon.own_bytes` takes.
    """
    question = _ask(request, policies, advice, settings, extensions, own=own)
    return answer(question, stamp)


def abstain_on_storage(
    request: JSONObject, *, policies: PolicySet, settings: EngineSettings, stamp: Stamp
) -> Decision:
    """Return the ABSTAIN that says nothing could be recorded; it is itself not stored (contract 4)."""
    question = _ask(request, policies, NO_ADVICE, settings, None)
    words = f"{request['action']['type']} is refused: its decision cannot be recorded."
    decision = _write(
        question,
        canonical_bytes(question.request),
        replace(combine((_STORAGE_RULE,)), rows=b"[]"),
        derived_bytes(derive(request, 0.0)),
        queries=b"[]",
        uncertainty_score=1,
        explanation=canonical_bytes({"details": [], "summary": words}),
        stamp=stamp,
    )
    return replace(decision, storable=False)


def answer(question: Question, stamp: Stamp) -> Decision:
    """Return the decision that follows from a question; the same bytes whenever it is asked again."""
    request, policy, advice = question.request, question.policy, question.advice
    # First of all, so that what no JSON can hold is refused as such and nothing after it can raise.
    recorded = own_bytes(request) if question.own else canonical_bytes(request)
    facts = derive(request, advice.failure_score)
    evaluation = evaluate(policy, policy.plan(facts.action_type), facts)
    combined = combine(evaluation.matched)
    queries = open_queries(combined.verdict, evaluation, facts, request)
    lines = details(evaluation, facts, advice, mode=question.mode, asked=asked_mode(request))
    words = f"{facts.action_type} {combined.outcome}"
    return _write(
        question,
        recorded,
        combined,
        derived_bytes(facts),
        queries=canonical_bytes(queries) if queries else b"[]",
        uncertainty_score=uncertainty(combined.verdict, advice.failure_score),
        # Strings alone are canonical as orjson writes them.
        explanation=b'{"details":%b,"summary":%b}' % (orjson.dumps(lines), orjson.dumps(words)),
        stamp=stamp,
    )


def _ask(
    request: JSONObject,
    policies: PolicySet,
    advice: MemoryAdvice,
    settings: EngineSettings,
    extensions: JSONObject | None,
    *,
    own: bool = False,
) -> Question:
    policy = policies.for_action(request["action"]["type"])
    return Question(
        request=redact_request(request, settings.redaction_profile),
        policy=policy,
        advice=advice,
        mode=_mode(request, policy, settings),
        extensions=extensions,
        dry_run=asks_dry_run(request),
        own=own,
    )


def asked_mode(request: JSONObject) -> str | None:
    """Return the mode that the request asks for, if it does."""
    mode: str | None = (request.get("policy") or {}).get("mode")
    return mode


def asks_dry_run(request: JSONObject) -> bool:
    """Tell whether the caller only wants to know what would be decided."""
    return (request.get("hints") or {}).get("dry_run") is True


def _mode(request: JSONObject, policy: CompiledPolicy, settings: EngineSettings) -> Mode:
    """Return the mode in force: a request may always ask to be held, and to pass only where allowed."""
    asked = asked_mode(request)
    if asked == Mode.ENFORCE or (asked == Mode.ADVISORY and settings.advisory_allowed):
        return Mode(asked)
    return settings.mode or policy.default_mode


def _write(
    question: Question,
    request: bytes,
    combined: Combined,
    derived: bytes,
    *,
    queries: bytes,
    uncertainty_score: float,
    explanation: bytes,
    stamp: Stamp,
) -> Decision:
    policy, advice = question.policy, question.advice
    snapshot = orjson.dumps(advice.snapshot)
    inputs = b'{"derived":%b,"memory_snapshot":%b,"request":%b}' % (derived, snapshot, request)
    inputs_digest = sha256_digest(inputs)
    trace = question.request.get("trace")
    body = (
        b'{"created_at":"%b","decision_id":%b,"determinism":{%b,'
        b'"inputs_digest":"%b","memory_snapshot":%b},"explanation":%b,"extensions":%b,"matched_rules":%b,'
        b'"obligations":%b,"policy":{"mode":"%b",%b},'
        b'"queries":%b,"reason_codes":%b,"request":%b,"risk_signals":%b,'
        b'"schema_version":"decision_record.v0","trace":%b,"verdict":"%b"}'
    ) % (
        _instant(stamp.at_ms // 1000),
        orjson.dumps(stamp.decision_id),
        _DETERMINISM,
        inputs_digest.encode(),
        snapshot,
        explanation,
        _extensions(question, derived),
        combined.rows,
        combined.obligations,
        question.mode.encode(),
        policy.identity,
        queries,
        combined.codes,
        request,
        _risk_signals(advice, uncertainty_score),
        orjson.dumps(trace, option=orjson.OPT_SORT_KEYS) if trace else b"{}",
        combined.verdict.encode(),
    )
    return Decision(
        body=body,
        decision_id=stamp.decision_id,
        verdict=combined.verdict,
        reason_codes=combined.reason_codes,
        action_type=question.request["action"]["type"],
        policy_hash=policy.policy_hash,
        mode=question.mode,
        inputs_digest=inputs_digest,
        dry_run=question.dry_run,
    )


@lru_cache(maxsize=16)
def _instant(wall_s: int) -> bytes:
    return rfc3339(wall_s * 1000).encode()


def _extensions(question: Question, derived: bytes) -> bytes:
    if not question.extensions and not question.dry_run:
        return b'{"derived":%b}' % derived
    parts = {name: canonical_bytes(value) for name, value in (question.extensions or {}).items()}
    parts["derived"] = derived
    if question.dry_run:
        parts["dry_run"] = b"true"
    members = [b"%b:%b" % (orjson.dumps(name), parts[name]) for name in sorted(parts, key=_utf16)]
    return b"{%b}" % b",".join(members)


def _utf16(name: str) -> bytes:
    """RFC 8785 sorts keys by their UTF-16 code units."""
    return name.encode("utf-16-be")


def _risk_signals(advice: MemoryAdvice, score: float) -> bytes:
    if not advice.hits and not advice.failure_score:
        return b'{"failure_similarity":{"score":0,"top_k":[]},"uncertainty_score":%b}' % orjson.dumps(score)
    hits = [
        {"memory_id": hit.memory_id, "label": hit.label, "score": hit.score, "summary": hit.summary}
        for hit in advice.hits
    ]
    similarity = {"score": advice.failure_score, "top_k": hits}
    return canonical_bytes({"failure_similarity": similarity, "uncertainty_score": score})
