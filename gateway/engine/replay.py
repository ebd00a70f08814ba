"""A record decided again: the same bytes from the record, its policy and the memory it names.

The stamp, the mode and the extensions of others are taken from the record, since they are not the
engine's to derive; everything else is derived anew, and any difference is named. A record that is
damaged beyond reading is a `RecordError`, never anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.engine.decide import Decision, Question, Stamp, answer, asked_mode, asks_dry_run
from gateway.kernel.canon import canonical_bytes
from gateway.kernel.errors import GatewayError, RecordError
from gateway.kernel.pointer import join
from gateway.kernel.types import JSON, JSONObject, Mode
from gateway.memory.types import MemoryAdvice, MemoryHit
from gateway.policy.compile import CompiledPolicy
from gateway.records.request import validate_request

DIFFERENCES_MAX: Final = 50
"""Pointers listed; a record that differs more often was not made by this engine."""
_DERIVED_EXTENSIONS: Final = frozenset({"derived", "dry_run"})


@dataclass(frozen=True, slots=True)
class Replay:
    """The decision made again, and where it is not the record."""

    decision: Decision
    differences: tuple[str, ...]
    """RFC 6901 pointers to the members that differ, in order."""

    @property
    def identical(self) -> bool:
        """True where every byte is the same."""
        return not self.differences


def replay(record: JSONObject, policy: CompiledPolicy, advice: MemoryAdvice) -> Replay:
    """Return the record's decision made again under `policy` with `advice`.

    `advice` is usually `recorded_advice(record)`. Events that were joined to the record
    (`decision_event_log`) are left out of the comparison. Raises `RecordError` where the record cannot
    be read.
    """
    try:
        request = _part(record, "request", dict)
        validate_request(request)
        question = Question(
            request=request,
            policy=policy,
            advice=advice,
            mode=_mode(record, request),
            extensions=_foreign_extensions(record),
            dry_run=asks_dry_run(request),
        )
        decision = answer(question, _stamp(record))
        recorded = {key: value for key, value in record.items() if key != "decision_event_log"}
        same = canonical_bytes(recorded) == decision.body
    except GatewayError as error:
        raise _unreadable(error.message) from error
    # Bytes that differ where no member does (a number spelt otherwise) differ as a whole.
    differences = () if same else tuple(_differences(recorded, decision.record)) or ("",)
    return Replay(decision, differences[:DIFFERENCES_MAX])


def recorded_advice(record: JSONObject) -> MemoryAdvice:
    """Return what memory said, as the record holds it. Raises `RecordError` where it cannot be read."""
    similarity = _part(_part(record, "risk_signals", dict), "failure_similarity", dict)
    hits = []
    for hit in _part(similarity, "top_k", list):
        texts = [_part(hit, name, str) for name in ("memory_id", "label")]
        hits.append(MemoryHit(texts[0], texts[1], _score(hit), _part(hit, "summary", str)))
    snapshot = _part(_part(record, "determinism", dict), "memory_snapshot", str)
    return MemoryAdvice(_score(similarity), tuple(hits), snapshot)


def _part(value: JSON, name: str, kind: type) -> JSON:
    part = value.get(name) if isinstance(value, dict) else None
    if not isinstance(part, kind):
        raise _unreadable(f"`{name}` is missing or of the wrong type")
    return part


def _score(value: JSON) -> float:
    score = value.get("score") if isinstance(value, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise _unreadable("`score` is missing or no number")
    return float(score)


def _mode(record: JSONObject, request: JSONObject) -> Mode:
    mode = _part(_part(record, "policy", dict), "mode", str)
    if mode not in set(Mode):
        raise _unreadable(f"`mode` is {mode[:40]}")
    return Mode.ENFORCE if asked_mode(request) == Mode.ENFORCE else Mode(mode)


def _foreign_extensions(record: JSONObject) -> JSONObject:
    extensions = _part(record, "extensions", dict)
    return {key: value for key, value in extensions.items() if key not in _DERIVED_EXTENSIONS}


def _stamp(record: JSONObject) -> Stamp:
    created_at: str = _part(record, "created_at", str)
    try:
        at = datetime.strptime(created_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _unreadable("`created_at` is no time") from None
    return Stamp(_part(record, "decision_id", str), int(at.timestamp()) * 1000)


def _unreadable(what: str) -> RecordError:
    return RecordError(
        f"the record cannot be replayed: {what}",
        code="REPLAY_DIFFERS",
        hint="run `lumyn verify`: the record was changed, or is of another version",
    )


def _differences(recorded: JSON, derived: JSON) -> list[str]:
    """Return pointers to where two JSON values differ, without recursion."""
    found: list[str] = []
    pending: list[tuple[tuple[str | int, ...], JSON, JSON]] = [((), recorded, derived)]
    while pending:
        path, one, other = pending.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            for key in sorted(one.keys() | other.keys(), reverse=True):
                if key in one and key in other:
                    pending.append(((*path, key), one[key], other[key]))
                else:
                    found.append(join((*path, key)))
        elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pending.extend(((*path, at), *pair) for at, pair in enumerate(zip(one, other, strict=True)))
        elif isinstance(one, bool) is not isinstance(other, bool) or one != other:
            found.append(join(path))
    return sorted(found)
